"""Voxels out of a file, with memory bounded by what the header promised and the file can hold."""

import bz2
import warnings
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from COFGeneratorLib.anatomy.readers.header import Payload, VolumeHeader
from COFGeneratorLib.errors import AnatomyError

CHUNK = 1 << 20
MAX_CHUNKS_BEYOND = 8
MOST_DIGITS = 32
"""Most characters of a number as text, white space included."""
DEFLATE_MAX_RATIO = 1032
"""No deflate stream expands further (zlib technical details, "Maximum expansion factor")."""


def read_frames(header: VolumeHeader, frame: int | None) -> np.ndarray:
    """Return the numbers of one frame (D, H, W), or of all (T, D, H, W), in the file's own type, not scaled.

    The whole payload is decoded in either case, so that a truncated or damaged file is noticed, but only what was asked
    for is kept.

    Raises:
        AnatomyError: If the file holds less than its header says, or is damaged.
    """
    item, count = header.dtype.itemsize, header.frame_numbers
    total = count * header.n_frames * item
    if header.payload.codec in ("ascii", "hex"):
        flat = _text_numbers(header, count * header.n_frames)
        return _arrange(flat, header, frame)
    _refuse_impossible(header, total)
    if frame is None:
        kept = bytearray()
        for chunk in _decoded(header.payload, total, header.format):
            kept += chunk
        return _arrange(np.frombuffer(kept, header.dtype), header, None)
    if header.frames_fastest and header.n_frames > 1:
        return _every_nth(header, frame, total)
    first, last = frame * count * item, (frame + 1) * count * item
    kept, position = bytearray(), 0
    for chunk in _decoded(header.payload, total, header.format):
        kept += chunk[max(first - position, 0) : max(last - position, 0)]
        position += len(chunk)
    return _native(np.frombuffer(kept, header.dtype)).reshape(header.shape)


def _arrange(flat: np.ndarray, header: VolumeHeader, frame: int | None) -> np.ndarray:
    """Bring numbers in file order to (T, D, H, W), or to one frame of it."""
    if header.frames_fastest:
        frames = np.moveaxis(flat.reshape(*header.shape, header.n_frames), -1, 0)
    else:
        frames = flat.reshape(header.n_frames, *header.shape)
    return _native(frames if frame is None else frames[frame])


def _every_nth(header: VolumeHeader, frame: int, total: int) -> np.ndarray:
    """Pick one frame from a file whose frame axis runs fastest, chunk by chunk."""
    row = header.n_frames * header.dtype.itemsize
    out = np.empty(header.frame_numbers, header.dtype.newbyteorder("="))
    filled, rest = 0, b""
    for chunk in _decoded(header.payload, total, header.format):
        rest += chunk
        rows = len(rest) // row
        picked = np.frombuffer(rest, header.dtype, rows * header.n_frames).reshape(rows, header.n_frames)[:, frame]
        out[filled : filled + rows] = picked
        filled += rows
        rest = rest[rows * row :]
    return out.reshape(header.shape)


def _native(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


def _refuse_impossible(header: VolumeHeader, total: int) -> None:
    """Refuse a claim that the bytes on disk cannot hold, before allocating."""
    payload = header.payload
    there = payload.path.stat().st_size - payload.offset
    most = {"raw": there - payload.inner_offset, "gzip": there * DEFLATE_MAX_RATIO}.get(payload.codec)
    if most is not None and most < total:
        raise _truncated(header.format, total, f"at most {max(most, 0):,} can be in the file")


def _truncated(format_name: str, expected: int, found: str) -> AnatomyError:
    return AnatomyError(
        f"The {format_name} header promises {expected:,} bytes of voxels; {found}. The file is truncated or its header "
        "is wrong: copy or export it again."
    )


def _damaged(format_name: str, what: object) -> AnatomyError:
    return AnatomyError(
        f"The voxels of this {format_name} file should decompress cleanly; found damaged data ({what}). "
        "Copy or export it again."
    )


def _decoded(payload: Payload, total: int, format_name: str) -> Iterator[bytes]:
    """Yield exactly `total` decoded bytes after the inner offset, or raise."""
    skip, left, beyond = payload.inner_offset, total, 0
    for chunk in decode(payload, format_name):
        if skip:
            dropped = min(skip, len(chunk))
            skip -= dropped
            chunk = chunk[dropped:]
        if chunk and left:
            chunk = chunk[:left]
            left -= len(chunk)
            yield chunk
        beyond += not left  # a little further lies the checksum; a bomb is not worth finding it
        if beyond > MAX_CHUNKS_BEYOND or (not left and payload.codec == "raw"):
            return
    if left:
        raise _truncated(format_name, total, f"found {total - left:,}")


def decode(payload: Payload, format_name: str) -> Iterator[bytes]:
    """Yield the decoded bytes of a payload in chunks of at most about `CHUNK`.

    Raises:
        AnatomyError: If compressed data are damaged or end early.
    """
    with payload.path.open("rb") as file:
        file.seek(payload.offset)
        if payload.codec == "raw":
            while chunk := file.read(CHUNK):
                yield chunk
            return
        try:
            yield from _inflate(file) if payload.codec == "gzip" else _bunzip(file)
        except (zlib.error, OSError, EOFError) as error:
            raise _damaged(format_name, error) from None


def _inflate(file: BinaryIO) -> Iterator[bytes]:
    """Decode gzip or zlib members one after another; each ends with its checksum."""
    engine, members = zlib.decompressobj(47), 0
    while data := file.read(CHUNK // 16):
        while data:
            if engine.eof:
                if data[:2] != b"\x1f\x8b":  # padding after the last member is allowed
                    return
                engine = zlib.decompressobj(47)
            chunk = engine.decompress(data, CHUNK)
            data = engine.unconsumed_tail or engine.unused_data
            members += engine.eof
            if chunk:
                yield chunk
    if not engine.eof:
        raise EOFError("the compressed stream ends early")


def _bunzip(file: BinaryIO) -> Iterator[bytes]:
    engine = bz2.BZ2Decompressor()
    while not engine.eof:
        data = file.read(CHUNK // 16) if engine.needs_input else b""
        if engine.needs_input and not data:
            raise EOFError("the compressed stream ends early")
        if chunk := engine.decompress(data, CHUNK):
            yield chunk


def _text_numbers(header: VolumeHeader, count: int) -> np.ndarray:
    """Read numbers written as text, or bytes written as hexadecimal digits; no more text than they can take."""
    payload = header.payload
    n_bytes = count * header.dtype.itemsize
    if payload.path.stat().st_size - payload.offset < count:
        raise _truncated(header.format, n_bytes, "the text is shorter")
    with payload.path.open("rb") as file:
        file.seek(payload.offset)
        text = file.read(MOST_DIGITS * (n_bytes if payload.codec == "hex" else count))
    try:
        if payload.codec == "hex":
            digits = text.translate(None, b" \t\r\n")[: 2 * n_bytes]
            flat = np.frombuffer(
                bytes.fromhex(digits.decode("ascii")), header.dtype, len(digits) // 2 // header.dtype.itemsize
            )
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # text that is no number is told as a warning
                flat = np.fromstring(text, dtype=np.float64, count=-1, sep=" ")[:count].astype(header.dtype)
    except (ValueError, UnicodeDecodeError, Warning):
        raise _damaged(header.format, "text that is not numbers") from None
    if flat.size < count:
        raise _truncated(header.format, n_bytes, f"found {flat.size:,} numbers")
    return flat
