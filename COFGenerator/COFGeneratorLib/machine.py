"""What this machine is and has: versions, computing devices, memory."""

import contextlib
import functools
import platform
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING

from COFGeneratorLib import __version__
from COFGeneratorLib.errors import MachineError

if TYPE_CHECKING:
    import torch

PACKAGES = ("torch", "monai", "numpy", "scipy", "SimpleITK", "neurokit2", "slicer-core")
"""What computes, and so may change a result."""


def versions() -> dict[str, str]:
    """Return the versions of what computes here, with the kind of processor."""
    found = {"ChainOfFlow": __version__, "python": platform.python_version(), "machine": platform.machine()}
    return found | _installed()


@functools.cache
def _installed() -> dict[str, str]:
    """Return the versions of ``PACKAGES``, read from their files once a process: that takes a tenth of a second."""
    found = {}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def choose_device(name: str = "auto") -> "torch.device":
    """Return the device of a name: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises:
        MachineError: If the device is not there; nothing falls back in silence.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda:0")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise MachineError(
            f"A device named {name!r} must be usable; found: {(str(error) or type(error).__name__).splitlines()[0]}. "
            "Use --device cpu, or auto to take what is there."
        ) from error
    return device


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Keep torch to one thread for a while: what is computed then does not depend on how many there are."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def peak_memory_mb(device: "torch.device | None" = None) -> float | None:
    """Return the largest memory so far, MB (10⁶ bytes): of a GPU, else the resident one of this process.

    None where the system does not tell.
    """
    if device is not None and device.type == "cuda":
        import torch

        return round(torch.cuda.max_memory_allocated(device) / 1e6, 1)
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak * (1 if sys.platform == "darwin" else 1024) / 1e6, 1)  # bytes on macOS, KiB elsewhere
