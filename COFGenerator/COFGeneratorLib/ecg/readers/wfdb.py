"""WFDB records (PhysioNet): a ``.hea`` header beside ``.dat`` or ``.mat`` samples, in one piece or in segments.

The header is read once, and the samples are decoded by what was read. Any of the files, or the bare record name, may be
named.
"""

import hashlib
import os
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import numpy as np

from COFGeneratorLib.ecg.readers.leads import lead_name
from COFGeneratorLib.ecg.readers.source import MAX_BYTES, RawEcg, Source, check_count, unit_mv
from COFGeneratorLib.ecg.readers.wfdb_header import (
    DEFAULT_GAIN,
    Header,
    Signal,
    base_name,
    parse_header,
    record_fields,
    text_of,
)
from COFGeneratorLib.ecg.readers.wfdb_samples import decode_file
from COFGeneratorLib.ecg.record import Doubt
from COFGeneratorLib.errors import EcgError

FORMAT = "wfdb"
LARGEST_HEADER = 2**20


def matches(source: Source) -> bool:
    """Tell by the header's first line, or by a header beside the file that names it."""
    if b"\x00" not in source.data[:4096]:
        return record_fields(text_of(source.data[:4096])) is not None
    return _header_beside(source.path) is not None


def _header_beside(path: Path) -> bytes | None:
    """Return the bytes of the WFDB header that names ``path`` as its samples, None if there is none."""
    header = path.with_suffix(".hea")
    if path.suffix == ".hea" or not header.is_file() or header.stat().st_size > LARGEST_HEADER:
        return None
    data = header.read_bytes()
    text = text_of(data)
    if record_fields(text) is None:
        return None
    named = {line.split()[0].replace("\\", "/").rsplit("/", 1)[-1] for line in text.splitlines() if line.split()}
    return data if path.name in named else None


def read(source: Source) -> RawEcg:
    """Read the record whose header or samples were named.

    Raises:
        EcgError: If the header is unsafe, contradicts the files, or uses a coding not read here.
    """
    beside = _header_beside(source.path) if b"\x00" in source.data[:4096] else None
    reading = _Reading(source.path.parent, source)
    data = beside if beside is not None else source.data
    if len(data) > LARGEST_HEADER:
        raise EcgError("A WFDB header has up to 1 MiB; found more. The file is damaged.")
    header = parse_header(text_of(data))
    reading.digest.update(data)
    if not header.rate_stated and source.told.rate_hz and not header.segments:
        header = replace(header, fs_hz=source.told.rate_hz)
    elif not header.rate_stated:
        reading.notes.append(
            f"The header states no sampling rate; {header.fs_hz:g} Hz is taken, as WFDB does. Check the heart rate."
        )
    raw = reading.joined(header) if header.segments else reading.piece(header)
    raw.sha256 = reading.digest.hexdigest()
    raw.warnings += reading.notes
    raw.doubts |= reading.doubts
    return raw


class _Reading:
    """The files of one record: all in one folder, each read once, all in one digest."""

    def __init__(self, folder: Path, source: Source) -> None:
        self.folder, self.told = folder, source.told
        self.digest = hashlib.sha256()
        self.notes: list[str] = []
        self.doubts: set[Doubt] = set()
        self._files: dict[str, bytes] = {}

    def piece(self, header: Header) -> RawEcg:
        """Decode a record in one piece."""
        wanted = [one for one in header.signals if lead_name(one.name)]
        if not wanted:
            raise EcgError("Twelve standard leads are needed; the header names none. Name the leads in the .hea file.")
        rates = {one.per_frame for one in wanted}
        if len(rates) > 1:
            raise EcgError("All leads must have one sampling rate; found several. Resample the recording.")
        steps: dict[int, np.ndarray] = {}
        for name, group in groupby(sorted(header.signals, key=lambda one: one.file), key=lambda one: one.file):
            inside = list(group)
            if any(lead_name(one.name) for one in inside):
                parts = decode_file(self.file(name), inside, header.frames)
                steps |= {id(one): part for one, part in zip(inside, parts, strict=True)}
        raw = RawEcg({}, header.fs_hz * rates.pop())
        for one in wanted:
            raw.add(one.name, (steps[id(one)] - one.baseline) * self._step_mv(one))
        return raw

    def joined(self, header: Header) -> RawEcg:
        """Join the segments of a record; what a segment lacks is missing there."""
        pieces: dict[str, RawEcg] = {}
        parts: list[tuple[RawEcg | None, int]] = []
        check_count(12 * max(sum(frames for _, frames in header.segments), 1))
        for name, frames in header.segments:
            if frames == 0:  # the layout of a record whose segments vary
                continue
            if name != "~" and name not in pieces:
                data = self.file(f"{name}.hea")
                inner = parse_header(text_of(data[:LARGEST_HEADER]))
                if inner.segments:
                    raise EcgError("A segment must be a record in one piece; found segments of its own. Damaged?")
                pieces[name] = self.piece(replace(inner, frames=inner.frames or frames))
            parts.append((pieces.get(name), frames))
        rates = {piece.fs_hz for piece in pieces.values()}
        if len(rates) != 1:
            raise EcgError(f"Segments of one sampling rate are expected; found {len(rates)}. Name one of the segments.")
        rate = rates.pop()
        factor = round(rate / header.fs_hz)
        names = sorted({name for piece in pieces.values() for name in piece.signals_mv})
        check_count(len(names) * factor * sum(frames for _, frames in parts))
        raw = RawEcg({}, rate)
        for name in names:
            raw.add(name, np.concatenate([_part(piece, name, factor * frames) for piece, frames in parts]))
        self.notes.append(f"{len(parts)} segments were joined.")
        return raw

    def file(self, name: str) -> bytes:
        """Return the bytes of a file named in a header, which must lie in the header's own folder."""
        name = base_name(name)
        if name not in self._files:
            path = self.folder / name
            if path.resolve().parent != self.folder.resolve():
                raise EcgError(
                    "Samples must lie beside their header; the header names a file elsewhere. Do not trust this file."
                )
            if not os.path.isfile(path):  # also of a name that no file can have
                raise EcgError(
                    "The samples (.dat or .mat) must lie beside the header; found none. Copy all files of the record "
                    "together."
                )
            if sum(map(len, self._files.values())) + path.stat().st_size > MAX_BYTES:
                raise EcgError(
                    f"Samples may have up to {MAX_BYTES // 2**20} MiB; found more. Cut out the 10 s that matter."
                )
            self._files[name] = path.read_bytes()
            self.digest.update(self._files[name])
        return self._files[name]

    def _step_mv(self, signal: Signal) -> float:
        """Return the mV of one step of a signal."""
        if signal.unit_mv is None:
            raise EcgError("Leads in mV, µV or V are expected; found another unit. Correct the unit in the header.")
        if signal.gain:
            return signal.unit_mv / signal.gain
        told = unit_mv(self.told.unit) if self.told.unit else None
        if told:
            return told
        if Doubt.SCALE not in self.doubts:
            self.doubts.add(Doubt.SCALE)
            self.notes.append(
                f"The scale is not known: the header states no gain. {DEFAULT_GAIN:g} steps per mV were taken, the "
                "format's default; voltages may be wrong. --unit states what one step is."
            )
        return 1.0 / DEFAULT_GAIN


def _part(piece: RawEcg | None, name: str, count: int) -> np.ndarray:
    """Return (count,) of a lead in a segment; missing samples where there is none."""
    values = piece.signals_mv.get(name) if piece is not None else None
    if values is None:
        return np.full(count, np.nan)
    if len(values) < count:
        raise EcgError(f"{count} samples of a segment are announced; found {len(values)}. The file is cut off.")
    return values[:count]
