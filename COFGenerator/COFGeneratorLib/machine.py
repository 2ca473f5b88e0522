"""What this machine is and has: versions, devices, memory."""

import platform
import sys
from importlib import metadata

from COFGeneratorLib import __version__

PACKAGES = ("torch", "monai", "numpy", "scipy", "SimpleITK", "neurokit2", "slicer-core")


def versions() -> dict[str, str]:
    """Return the versions of what computed the result."""
    found = {"ChainOfFlow": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def peak_memory_mb() -> float | None:
    """Return the largest resident memory of this process so far, MB; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1e6 if sys.platform == "darwin" else 1e3), 1)  # bytes on macOS, kB elsewhere
