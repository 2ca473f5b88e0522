"""Tells what a Python interpreter can do for us: packages, devices. Run in a child process, never in a GUI::

    python -m COFGeneratorLib probe --out probe.json [--events events.jsonl]

An installation is believed only after a real computation on each device: a torch built for other GPUs imports well.
"""

import argparse
import importlib
import importlib.util
import json
import platform
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from COFGeneratorLib.commands import Commands
from COFGeneratorLib.jobs.events import job_events

PACKAGES = (
    "torch",
    "monai",
    "numpy",
    "scipy",
    "SimpleITK",
    "neurokit2",
    "safetensors",
    "defusedxml",
    "wfdb",
    "pydicom",
)


def probe() -> dict[str, Any]:
    """Return versions of packages and what torch computes on.

    Returns:
        ``python``, ``packages`` {name: version or ""}, ``slicer`` (whether scenes can be written), ``devices`` [{id,
        name, free_mb, error}] and ``torch_error``.
    """
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "executable": sys.executable,
        "packages": {name: _version(name) for name in PACKAGES},
        "slicer": importlib.util.find_spec("slicer") is not None,
        "devices": [],
        "torch_error": "",
    }
    try:
        torch = importlib.import_module("torch")
        facts["devices"] = _devices(torch)
    except Exception as error:  # whatever a broken installation raises is what the user needs to read
        facts["torch_error"] = f"{type(error).__name__}: {error}"
    return facts


def _devices(torch: ModuleType) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"id": "cpu", "name": platform.processor() or platform.machine(), "free_mb": None}]
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free = torch.cuda.mem_get_info(index)[0] // 2**20
        found.append({"id": f"cuda:{index}", "name": torch.cuda.get_device_name(index), "free_mb": int(free)})
    if getattr(torch.backends, "mps", None) is not None and torch.backends.mps.is_available():
        found.append({"id": "mps", "name": "Apple GPU", "free_mb": None})
    return [{**device, "error": _try_device(torch, device["id"])} for device in found]


def _try_device(torch: ModuleType, name: str) -> str:
    """Return the error of a small computation on a device; empty if the result is right."""
    try:
        total = float(torch.ones(64, 64, device=name).matmul(torch.ones(64, 64, device=name)).sum())
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "" if total == 64.0**3 else f"wrong result {total}"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def add(commands: Commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser("probe", description="Tell what this Python can do for ChainOfFlow.")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--events", type=Path)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the facts as JSON; returns the exit code."""
    with job_events(arguments.events):
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(json.dumps(probe(), indent=1) + "\n", encoding="utf-8")
    return 0
