"""Choice of the computing device."""

import torch

from COFGeneratorLib.errors import BundleError


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of a name: ``auto``, ``cpu``, ``cuda:N`` or ``mps``.

    Raises:
        BundleError: If the device is not there; nothing falls back in silence.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda:0")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise BundleError(
            f"A device named {name!r} must be usable; found: {str(error).splitlines()[0]}. "
            "Use --device cpu, or auto to take what is there."
        ) from error
    return device
