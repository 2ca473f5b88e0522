"""A file as the readers see it: bytes read once, with a limit, and small helpers to tell what it is."""

import base64
import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from COFGeneratorLib.errors import EcgError

MAX_BYTES = 32 * 1024 * 1024
"""Largest file read."""
MAX_VALUES = 4_000_000
"""Most samples over all leads: eleven minutes at 500 Hz. Bounds memory at 400 MB and time at seconds."""
MV_PER_UNIT = {"nv": 1e-6, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "mv": 1.0, "v": 1e3}
"""Units of voltage in lower case; micro is written as the micro sign or the Greek letter."""


@dataclass(frozen=True)
class Source:
    """Bytes of the file the user named and where it lies (WFDB keeps its samples beside the header)."""

    path: Path
    data: bytes

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
        if not text.startswith("<"):
            return ""
        text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
        found = re.search(r"<(?:[A-Za-z_][\w.-]*:)?([A-Za-z_][\w.-]*)", text)
        return found.group(1) if found else ""


@dataclass
class RawEcg:
    """What a reader hands over: named signals, not yet in the order of the standard leads.

    Attributes:
        signals_mv: Lead name as spelt in the file → (L,) mV.
        fs_hz: Rate, Hz.
        stated: Measurements the file states.
        warnings: Assumptions and repairs, in words of ours: text of the file is never repeated, it may name a person.
        sha256: Of all the bytes used; of the named file when empty.
    """

    signals_mv: dict[str, np.ndarray]
    fs_hz: float
    stated: dict[str, float] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    sha256: str = ""

    def add(self, name: str, values_mv: np.ndarray) -> None:
        """Add a signal; names that a format leaves empty are skipped.

        Raises:
            EcgError: If there is one of that name.
        """
        if name in self.signals_mv:
            raise EcgError("Each lead is expected once; found one twice. Export the twelve standard leads only.")
        if name:
            self.signals_mv[name] = values_mv


def load(path: Path) -> Source:
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
    return Source(path, data)


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
