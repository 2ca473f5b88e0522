"""Single values of a request, from the words of a command line or of a table.

Each parser raises ``ValueError`` with words for the user: what was expected, what was found.
"""

import re

from COFGeneratorLib.anatomy.stack import LABELS
from COFGeneratorLib.ecg.readers.leads import lead_name
from COFGeneratorLib.ecg.readers.source import number, unit_mv
from COFGeneratorLib.results.parts import PARTS, in_order

SOLVERS = ("euler", "heun", "exponential")
"""The sampler's own list; it cannot be asked here, because that would load torch for ``--help``."""


LARGEST_WHOLE = 2**31 - 1
MOST_FRAMES = 1000
DEVICES = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


def positive(text: str) -> int:
    """Parse a whole number of at least 1."""
    return _whole(text, 1)


def _whole(text: str, low: int) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text) or not low <= int(text) <= LARGEST_WHOLE:
        raise ValueError(f"expected a whole number from {low} to {LARGEST_WHOLE}; found {text[:40]!r}")
    return int(text)


def _between(text: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise ValueError(f"expected a number from {low:g} to {high:g}; found {text!r}")
    return value


def percent(text: str) -> float:
    """Parse an ejection fraction, percent."""
    return _between(text, 5.0, 85.0)


def beats_per_minute(text: str) -> float:
    """Parse a heart rate, beats per minute."""
    return _between(text, 25.0, 250.0)


def systole_ms(text: str) -> float:
    """Parse the time of end-systole from the R wave, ms."""
    return _between(text, 100.0, 700.0)


def natural(text: str) -> int:
    """Parse a whole number of at least 0."""
    return _whole(text, 0)


def frame_count(text: str) -> int:
    """Parse a number of frames: at least 4, or there is no curve."""
    if not 4 <= positive(text) <= MOST_FRAMES:
        raise ValueError(f"expected at least 4 frames and at most {MOST_FRAMES}; found {text}")
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
        name = name.lower()
        if name not in LABELS or not re.fullmatch(r"[0-9]{1,5}", code) or name in codes:
            raise ValueError(
                f"expected codes as in lv=3,myo=2,rv=1 (names {', '.join(LABELS)}, each once); found {text!r}"
            )
        codes[name] = int(code)
    return codes


def lead_names(text: str) -> tuple[str, ...]:
    """Parse ``I,II,III,…``: standard leads in any spelling, ``-`` before one that is turned over."""
    names = tuple(part.strip() for part in text.split(","))
    if not all(map(lead_name, names)) or len({lead_name(name)[0] for name in names}) != len(names):  # type: ignore[index]
        raise ValueError(f"expected leads, each once, as I,II,III,aVR,aVL,aVF,V1,V2,V3,V4,V5,V6; found {text!r}")
    return names


def rate_hz(text: str) -> float:
    """Parse a sampling rate, Hz."""
    value = number(text, 50.0, 4000.0)
    if value is None:
        raise ValueError(f"expected a sampling rate of 50 to 4,000 Hz; found {text!r}")
    return value


def voltage(text: str) -> str:
    """Parse a unit of voltage."""
    if unit_mv(text) is None:
        raise ValueError(f"expected mV, uV, V or nV; found {text!r}")
    return text


def parts(text: str) -> tuple[str, ...]:
    """Parse ``cine,function``: parts of a result, as ``results.parts`` names them."""
    names = [part.strip().lower() for part in text.split(",")]
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise ValueError(f"expected some of {','.join(PARTS)}; found {text!r}")
    return in_order(names)


def beat(text: str) -> int | float:
    """Parse ``3`` (the beat's index, a whole number) or ``4.2s`` (a time within it, s, returned as float)."""
    if re.fullmatch(r"[0-9]{1,9}", text):
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


def spacing(text: str) -> tuple[float, float, float]:
    """Parse ``1.4,1.4,8`` (also separated by spaces or ×): columns, rows and slices, mm."""
    try:
        found = [float(word) for word in re.split(r"[,;x×\s]+", text.strip())]
    except ValueError:
        found = []
    if len(found) != 3 or not all(0.01 <= step <= 100.0 for step in found):
        raise ValueError(f"expected the distance of columns, rows and slices in mm, as 1.4,1.4,8; found {text!r}")
    return found[0], found[1], found[2]


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
