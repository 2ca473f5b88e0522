"""The samples of WFDB files: the plain codings of signal(5), decoded over whole arrays."""

from collections.abc import Sequence

import numpy as np

from COFGeneratorLib.ecg.readers.source import check_count
from COFGeneratorLib.ecg.readers.wfdb_header import BITS, Signal
from COFGeneratorLib.errors import EcgError

_WORDS = {"16": "<i2", "61": ">i2", "32": "<i4", "160": "<u2", "80": "u1", "8": "i1"}
_ZERO = {"160": 32768, "80": 128}
_MISSING = {"16": -(2**15), "61": -(2**15), "160": -(2**15), "24": -(2**23), "32": -(2**31), "80": -128, "212": -2048,
            "310": -512, "311": -512}  # fmt: skip


def decode_file(data: bytes, signals: Sequence[Signal], frames: int) -> list[np.ndarray]:
    """Decode one file of samples.

    Args:
        data: The file.
        signals: All signals kept in it, in the order of the header.
        frames: Announced; 0 where the header leaves that open.

    Returns:
        For each signal (frames · samples a frame,) float64 steps, NaN where a sample is missing.

    Raises:
        EcgError: If the file is shorter than announced, or its signals differ in what must be one.
    """
    first = signals[0]
    if any((one.coding, one.offset) != (first.coding, first.offset) for one in signals):
        raise EcgError("Signals in one file must have one coding and offset; found several. The header is damaged.")
    widths = [one.per_frame for one in signals]
    body = data[first.offset :]
    # A last word may be left incomplete by codings that pack several samples into it.
    present = int(len(body) * 8 // BITS[first.coding] + 1e-6) // sum(widths)
    frames = frames or present
    if frames > present or frames == 0:
        raise EcgError(
            f"{frames} samples of {len(signals)} signals are announced in the header; found {present}. The file is cut "
            "off."
        )
    check_count(frames * sum(widths))
    values = _words(body, first.coding, frames * sum(widths)).reshape(frames, -1)
    edges = np.cumsum([0, *widths])
    return [
        _timed(values[:, start:stop].reshape(-1), one, frames)
        for one, start, stop in zip(signals, edges[:-1], edges[1:], strict=True)
    ]


def _timed(steps: np.ndarray, signal: Signal, frames: int) -> np.ndarray:
    """Undo differences and skew of one signal, (L,)."""
    if signal.skew >= frames:
        raise EcgError(
            f"A signal may lag by less than the record ({frames} samples); found {signal.skew}. The header is damaged."
        )
    if signal.coding == "8":
        steps = signal.first + np.cumsum(steps)
    out = steps.astype(np.float64)
    missing = _MISSING.get(signal.coding)
    if missing is not None:
        out[steps == missing] = np.nan
    if signal.skew:
        lag = signal.skew * signal.per_frame
        out = np.concatenate([out[lag:], np.full(lag, np.nan)])
    return out


def _words(body: bytes, coding: str, count: int) -> np.ndarray:
    """Return the first ``count`` integers of a file, (count,) int64, in the order of the file."""
    if coding in _WORDS:
        return np.frombuffer(body, _WORDS[coding], count).astype(np.int64) - _ZERO.get(coding, 0)
    if coding == "24":
        low, middle, high = np.frombuffer(body, np.uint8, 3 * count).reshape(-1, 3).astype(np.int64).T
        return _signed(low | middle << 8 | high << 16, 24)
    size, each = (3, 2) if coding == "212" else (4, 3)
    groups = -(-count // each)
    packed = np.frombuffer(body[: size * groups].ljust(size * groups, b"\x00"), np.uint8).reshape(groups, size)
    a, b, c, *d = packed.astype(np.int64).T
    if coding == "212":
        return _signed(np.stack([a | (b & 15) << 8, c | (b >> 4) << 8], axis=1).reshape(-1)[:count], 12)
    if coding == "310":
        third = (b >> 3) | (d[0] >> 3) << 5
        parts = [(a >> 1) | (b & 7) << 7, (c >> 1) | (d[0] & 7) << 7, third]
    else:
        word = a | b << 8 | c << 16 | d[0] << 24
        parts = [word & 1023, word >> 10 & 1023, word >> 20 & 1023]
    return _signed(np.stack(parts, axis=1).reshape(-1)[:count], 10)


def _signed(values: np.ndarray, bits: int) -> np.ndarray:
    """Read unsigned numbers of some bits as two's complement."""
    return np.where(values >> (bits - 1), values - (1 << bits), values)
