"""What has to be installed before a generation can run, and installing it with the user's consent.

Slicer's own packages are protected by a constraints file: pip must not replace the numpy or SimpleITK that Slicer was
built with. PyTorch comes from the extension of that name, which picks the build for the graphics driver.
"""

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from COFGeneratorLib.errors import JobError
from COFGeneratorLib.jobs import JobRunner
from COFGeneratorLib.scene.child import Child, start_child

PROTECTED = ("numpy", "scipy", "SimpleITK", "vtk", "requests", "pydicom", "pillow", "packaging", "setuptools", "pip")
"""Packages of Slicer that an installation must leave at their version."""

TORCH_MINIMUM = "2.6"
TORCH_BELOW_ON_WINDOWS = "2.13"
"""From here on the wheels hold paths longer than Windows allows by default, and installing breaks half-way."""

TORCH_EXTENSION = "PyTorch"


def requirements(file: Path) -> list[str]:
    """Return the requirement lines of a file, without comments and without torch."""
    lines = (line.split("#")[0].strip() for line in file.read_text("utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("-") and _name(line) != "torch"]


def missing(file: Path) -> list[str]:
    """Return what is not installed in this interpreter, torch included; nothing is imported for it."""
    absent = [] if _version("torch") else [f"torch>={TORCH_MINIMUM}"]
    return absent + [line for line in requirements(file) if not _satisfied(line)]


def torch_requirement() -> str:
    """Return the version specifier to ask PyTorch for on this system."""
    ceiling = f",<{TORCH_BELOW_ON_WINDOWS}" if sys.platform == "win32" else ""
    return f">={TORCH_MINIMUM}{ceiling}"


def constraints() -> str:
    """Return the text of a constraints file that pins Slicer's own packages to what is installed."""
    pinned = ((name, _version(name)) for name in PROTECTED)
    return "".join(f"{name}=={version}\n" for name, version in pinned if version)


def install(file: Path, folder: Path) -> bool:
    """Install what is missing after one question that lists it; False if declined or a restart comes first.

    Raises:
        JobError: If the installation cannot go on.
    """
    needed = missing(file)
    if not needed:
        return True
    if importlib.util.find_spec("PyTorchUtils") is None and any(_name(line) == "torch" for line in needed):
        return _install_torch_extension()
    text = _(
        "ChainOfFlow computes with these Python packages, which are not installed yet:\n\n{packages}\n\n"
        "They are downloaded from the Python Package Index and from pytorch.org (about 1 to 3 GB with a GPU). "
        "Slicer's own packages stay as they are. Install now?"
    ).format(packages="\n".join(f"  {line}" for line in needed))
    if not slicer.util.confirmOkCancelDisplay(text, _("Install packages")):
        return False
    if not _version("torch"):
        import PyTorchUtils

        PyTorchUtils.PyTorchUtilsLogic().installTorch(
            askConfirmation=False, torchVersionRequirement=torch_requirement()
        )
    pins = folder / "constraints.txt"
    pins.write_text(constraints(), encoding="utf-8")
    try:
        from slicer.packaging import pip_ensure
    except ImportError as error:
        raise JobError(
            "Installing packages needs Slicer 5.12 or newer; found an older one. Update Slicer, or choose another "
            "Python under Advanced."
        ) from error
    pip_ensure(requirements(file), constraints=pins, prompt_install=False, requester="ChainOfFlow")
    return not missing(file)


def remove_torch() -> None:
    """Uninstall PyTorch, so that a broken installation can be made anew after a restart."""
    slicer.util.pip_uninstall("torch")


def start_probe(folder: Path, child: Child) -> JobRunner:
    """Start a child process that reports packages and devices in ``result/probe.json``."""
    command, name = child.command("probe"), "probe.json"
    return start_child(JobRunner(folder), command, kind="probe", out=name, expect=[name], env=child.env)


def describe(facts: Mapping[str, Any]) -> str:
    """Return a probe's facts in a few words."""
    if facts["torch_error"]:
        version = facts["packages"]["torch"]
        found = _("torch {version} does not load").format(version=version) if version else _("torch is not installed")
        return _("Python {python}: {found}. {error}").format(
            python=facts["python"], found=found, error=facts["torch_error"]
        )
    lines = [_("Python {python}, torch {torch}").format(python=facts["python"], torch=facts["packages"]["torch"])]
    absent = [name for name, version in facts["packages"].items() if not version]
    if absent:
        lines.append(_("Missing: {names}").format(names=", ".join(absent)))
    if not facts["slicer"]:
        lines.append(_("The package slicer-core is missing: results cannot be shown here."))
    lines += [device_words(device) for device in facts["devices"]]
    return "\n".join(lines)


def fill_devices(selector: Any, found: Sequence[Mapping[str, Any]], kept: str) -> None:
    """Offer the automatic choice, the CPU and what a probe has found; choose the device that was chosen before."""
    selector.blockSignals(True)
    selector.clear()
    selector.addItem(_("Automatic"), "auto")
    if not any(device["id"] == "cpu" for device in found):
        selector.addItem("cpu", "cpu")
    for device in found:
        selector.addItem(device_words(device), device["id"])
    selector.currentIndex = max(selector.findData(kept), 0)
    selector.blockSignals(False)


def device_words(device: Mapping[str, Any]) -> str:
    """Return a device of a probe in words: id, name, free memory or why it does not work."""
    words = f"{device['id']}: {device['name']}"
    if device.get("error"):
        return _("{words} – does not work ({error})").format(words=words, error=device["error"])
    if device.get("free_mb"):
        return _("{words}, {free:.1f} GB free").format(words=words, free=device["free_mb"] / 1024)
    return words


def _install_torch_extension() -> bool:
    text = _(
        "PyTorch is installed through the Slicer extension '{name}', which is not there yet. "
        "Install it now? Slicer has to be restarted afterwards."
    ).format(name=TORCH_EXTENSION)
    if slicer.util.confirmOkCancelDisplay(text, _("Install extension")):
        slicer.app.extensionsManagerModel().installExtensionFromServer(TORCH_EXTENSION)
    return False


def _name(requirement: str) -> str:
    for index, character in enumerate(requirement):
        if not (character.isalnum() or character in "-_."):
            return requirement[:index].strip().lower()
    return requirement.lower()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _satisfied(requirement: str) -> bool:
    installed = _version(_name(requirement))
    if not installed:
        return False
    from packaging.requirements import Requirement

    return Requirement(requirement).specifier.contains(installed, prereleases=True)
