"""Single values of a request, from the words of a command line or of a table.

Each parser raises ``ValueError`` with words for the user: what was expected, what was found.
"""

import re

from COFGeneratorLib.anatomy.stack import LABELS

SOLVERS = ("euler", "heun")
"""The sampler's own list; it cannot be asked here, because that would load torch for ``--help``."""


DEVICES = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


def positive(text: str) -> int:
    """Parse a whole number of at least 1."""
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"expected a whole number of at least 1; found {text!r}")
    return int(text)


def natural(text: str) -> int:
    """Parse a whole number of at least 0."""
    if not text.isdigit():
        raise ValueError(f"expected a whole number of at least 0; found {text!r}")
    return int(text)


def frame_count(text: str) -> int:
    """Parse a number of frames: at least 4, or there is no curve."""
    if positive(text) < 4:
        raise ValueError(f"expected at least 4 frames; found {text}")
    return int(text)


def device(text: str) -> str:
    """Parse a device name."""
    if not DEVICES.fullmatch(text):
        raise ValueError(f"expected auto, cpu, mps, cuda or cuda:N; found {text!r}")
    return text


def label_map(text: str) -> dict[str, int]:
    """Parse ``lv=3,myo=2,rv=1``."""
    codes: dict[str, int] = {}
    for part in text.split(","):
        name, _, code = (piece.strip() for piece in part.partition("="))
        if name not in LABELS or not code.isdigit() or name in codes:
            raise ValueError(
                f"expected codes as in lv=3,myo=2,rv=1 (names {', '.join(LABELS)}, each once); found {text!r}"
            )
        codes[name] = int(code)
    return codes


def beat(text: str) -> int | float:
    """Parse ``3`` (the beat's index, a whole number) or ``4.2s`` (a time within it, s, returned as float)."""
    if text.isdigit():
        return int(text)
    found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(s|ms)", text.strip())
    if not found:
        raise ValueError(f"expected a beat's index, as 3, or a time in the record, as 4.2s; found {text!r}")
    return float(found.group(1)) * (1e-3 if found.group(2) == "ms" else 1.0)


def phase(text: str) -> float | str:
    """Parse a fraction of the R–R interval, from 0 to below 1, or ``cine``: where the chosen frame lies in its cine."""
    if text == "cine":
        return text
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < 1.0:
        raise ValueError(f"expected a fraction of the R–R interval from 0 to below 1, or the word cine; found {text!r}")
    return value


def seconds(text: str) -> float:
    """Parse a time in a record, s."""
    return float(beat(f"{text.removesuffix('s')}s"))


def bounds(text: str) -> tuple[float, ...]:
    """Parse ``xmin,xmax,ymin,ymax,zmin,zmax`` (also separated by spaces), RAS mm.

    Whether they make a box is checked where it is used.
    """
    try:
        values = tuple(float(word) for word in re.split(r"[,;\s]+", text.strip()))
    except ValueError:
        values = ()
    if len(values) != 6:
        raise ValueError(f"expected six numbers in RAS mm, xmin xmax ymin ymax zmin zmax; found {text!r}")
    return values
