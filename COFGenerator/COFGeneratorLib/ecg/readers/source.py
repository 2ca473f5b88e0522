"""A file as the readers see it: bytes read once, with a limit, and small helpers to tell what it is."""

import base64
import hashlib
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from COFGeneratorLib.ecg.record import Doubt
from COFGeneratorLib.errors import EcgError

MAX_BYTES = 32 * 1024 * 1024
"""Largest file read."""
MAX_VALUES = 4_000_000
"""Most samples over all leads: eleven minutes at 500 Hz. Bounds memory at 400 MB and time at seconds."""
_MV_PER_UNIT = {"nv": 1e-6, "uv": 1e-3, "μv": 1e-3, "mv": 1.0, "v": 1e3}
_MV_PER_UNIT |= {f"{prefix}volt": _MV_PER_UNIT[f"{short}v"] for prefix, short in
                 (("nano", "n"), ("micro", "u"), ("milli", "m"), ("", ""))}  # fmt: skip
LONGEST_NAME = 80
"""Characters of the name of a lead or unit that are looked at; no device writes longer ones."""


@dataclass(frozen=True)
class Told:
    """What the user says of a file that does not say it.

    Attributes:
        leads: Names of the leads in the order in which the file holds them; empty where the file names them.
        rate_hz: Sampling rate, Hz.
        unit: Unit of the samples: ``mV``, ``uV``, ``V`` or ``nV``.
    """

    leads: tuple[str, ...] = ()
    rate_hz: float | None = None
    unit: str | None = None


@dataclass(frozen=True)
class Source:
    """Bytes of the file the user named, where it lies (WFDB keeps samples beside the header), what he says of it."""

    path: Path
    data: bytes
    told: Told = Told()

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes, hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    def head_text(self, count: int = 65536) -> str:
        """Return the beginning as text whatever its encoding; only for telling formats apart."""
        head = self.data[:count]
        if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return head[: len(head) // 2 * 2].decode("utf-16", errors="replace")
        return head.decode("utf-8-sig", errors="replace")

    def xml_root(self) -> str:
        """Return the local name of the root element, ``""`` if the file does not look like XML."""
        text = self.head_text().lstrip("\ufeff \t\r\n")
        at = 0 if text.startswith("<") else -1
        # One pass: declarations and comments are stepped over, never searched for again.
        while at >= 0:
            if not text.startswith(("<!", "<?"), at):
                name = text[at + 1 : at + 1 + LONGEST_NAME].split(">")[0].split("/")[0].split()
                return name[0].rsplit(":", 1)[-1] if name else ""
            end = text.find("-->" if text.startswith("<!--", at) else ">", at + 2)
            at = text.find("<", end) if end >= 0 else -1
        return ""


@dataclass
class RawEcg:
    """What a reader hands over: named signals, not yet in the order of the standard leads.

    Attributes:
        signals_mv: Lead name as spelt in the file → (L,) mV.
        fs_hz: Rate, Hz.
        stated: Measurements the file states.
        warnings: Assumptions and repairs, in words of ours: text of the file is never repeated, it may name a person.
        sha256: Of all the bytes used; of the named file when empty.
        doubts: What of the record is in doubt.
    """

    signals_mv: dict[str, np.ndarray]
    fs_hz: float
    stated: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    sha256: str = ""
    doubts: set[Doubt] = field(default_factory=set)

    def add(self, name: str, values_mv: np.ndarray) -> None:
        """Add a signal; names that a format leaves empty are skipped.

        Raises:
            EcgError: If there is one of that name.
        """
        if name in self.signals_mv:
            raise EcgError("Each lead is expected once; found one twice. Export the twelve standard leads only.")
        if name:
            self.signals_mv[name] = values_mv


def unit_mv(text: str | None) -> float | None:
    """Return the mV of a unit of voltage in any usual spelling and encoding, None for anything else."""
    # NFKC makes the micro sign the Greek letter; UTF-8 that was taken for Latin-1 has a letter too many.
    word = unicodedata.normalize("NFKC", (text or "")[:LONGEST_NAME].strip()).replace("Â", "").lower()
    return _MV_PER_UNIT.get(word.removesuffix("s") if word.endswith("volts") else word)


def load(path: Path, told: Told | None = None) -> Source:
    """Read a file of at most ``MAX_BYTES``.

    Raises:
        EcgError: If it is not a readable file or too large.
    """
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "nothing there"
        raise EcgError(f"An ECG must be a file; found {kind}. Check the path.")
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise EcgError(
            f"An ECG file may have up to {MAX_BYTES // 2**20} MiB; found {size / 2**20:.0f} MiB. "
            "Cut out the 10 seconds that matter."
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise EcgError(f"The ECG file must be readable; found: {error.strerror}. Check its permissions.") from None
    if not data:
        raise EcgError("An ECG file must hold data; found an empty file. Export the recording again.")
    return Source(path, data, told or Told())


def check_count(values: int) -> None:
    """Refuse a header that claims more samples than any ECG of ours has.

    Raises:
        EcgError: If ``values`` is not in 1…``MAX_VALUES``.
    """
    if not 0 < values <= MAX_VALUES:
        raise EcgError(
            f"An ECG may have 1 to {MAX_VALUES:,} samples over all leads; the header claims {values:,}. "
            "The file is damaged, or cut out the 10 seconds that matter."
        )


def number(text: str | None, low: float = -1e9, high: float = 1e9) -> float | None:
    """Parse a number leniently; None when it is absent, not a number, or outside ``low``…``high``."""
    if text is None:
        return None
    try:
        value = float(str(text).strip().replace(",", "."))
    except ValueError:
        return None
    return value if low <= value <= high else None


def measurements(found: dict[str, float | None]) -> dict[str, float]:
    """Keep the stated measurements that make sense (devices write 0, −1 or 29999 for "not measured")."""
    ranges = {"hr_bpm": (15, 400), "rr_ms": (150, 4000), "pr_ms": (20, 800), "qrsd_ms": (20, 400), "qt_ms": (100, 900)}
    kept = {}
    for name, value in found.items():
        low, high = ranges.get(name, (-360, 360))
        if value is not None and low <= value <= high:
            kept[name] = float(value)
    return kept


def decode_base64(text: str) -> bytes:
    """Decode base64 that may be broken into lines.

    Raises:
        EcgError: If it is none.
    """
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        raise EcgError("Samples in base64 are expected; found other characters. The file is damaged.") from None
