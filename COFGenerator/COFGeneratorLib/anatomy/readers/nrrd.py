"""NRRD volumes and cines, Slicer's .seq.nrrd and MultiVolume files among them.

Format: teem.sourceforge.net/nrrd/format.html. The frame axis may come first or last in the file.
"""

import re
from pathlib import Path

import numpy as np

from COFGeneratorLib.anatomy.geometry import affine, check_geometry, lps_to_ras
from COFGeneratorLib.anatomy.readers.header import Payload, VolumeHeader
from COFGeneratorLib.anatomy.readers.timing import frame_times_ms
from COFGeneratorLib.errors import AnatomyError

FORMAT = "NRRD"
MAX_HEADER_BYTES = 1 << 20
TYPES = {
    "i1": "signed char|int8|int8_t", "u1": "uchar|unsigned char|uint8|uint8_t",
    "i2": "short|short int|signed short|signed short int|int16|int16_t",
    "u2": "ushort|unsigned short|unsigned short int|uint16|uint16_t",
    "i4": "int|signed int|int32|int32_t", "u4": "uint|unsigned int|uint32|uint32_t",
    "i8": "longlong|long long|long long int|signed long long|signed long long int|int64|int64_t",
    "u8": "ulonglong|unsigned long long|unsigned long long int|uint64|uint64_t",
    "f4": "float", "f8": "double",
}  # fmt: skip
CODECS = {
    "raw": "raw", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2",
    "txt": "ascii", "text": "ascii", "ascii": "ascii", "hex": "hex",
}  # fmt: skip
SPACE_TO_RAS = {
    "left-posterior-superior": lps_to_ras(np.eye(4)), "lps": lps_to_ras(np.eye(4)),
    "right-anterior-superior": np.eye(4), "ras": np.eye(4),
    "left-anterior-superior": np.diag([-1.0, 1, 1, 1]), "las": np.diag([-1.0, 1, 1, 1]),
}  # fmt: skip
FRAME_KINDS = {"list", "time"}
SPATIAL_KINDS = {"domain", "space", "???", "none", ""}


def matches(start: bytes) -> bool:
    """Whether leading bytes are an NRRD header."""
    return start.startswith(b"NRRD000")


def read_header(path: Path) -> VolumeHeader:
    """Read geometry, type, timing and where the voxels are.

    Raises:
        AnatomyError: If the header describes no scalar volume or cine with sensible geometry.
    """
    fields, keys, offset = _parse(path)
    try:
        dimension = int(fields["dimension"])
        sizes = [int(n) for n in fields["sizes"].split()]
        code = next(c for c, names in TYPES.items() if fields["type"].lower() in names.split("|"))
        codec = CODECS[fields["encoding"].lower()]
    except (KeyError, ValueError, StopIteration):
        wanted = ("dimension", "sizes", "type", "encoding")
        missing = ", ".join(name for name in wanted if name not in fields)
        found = f"it lacks {missing}" if missing else "one of them is of another kind"
        raise AnatomyError(
            f"An NRRD header needs dimension, sizes, a scalar type and a known encoding; {found}. Export grey-scale "
            "MR as NRRD again."
        ) from None
    if len(sizes) != dimension:
        raise AnatomyError(
            f"NRRD needs one size an axis; dimension is {dimension}, sizes are {len(sizes)}. Export again."
        )
    frame_axis = _frame_axis(fields, sizes)
    spatial = [axis for axis in range(dimension) if axis != frame_axis]
    matrix, warnings = _geometry(fields, spatial, frame_axis)
    if frame_axis is not None and any(re.fullmatch(r"Segment\d+_Layer", key) for key in keys):
        raise AnatomyError(
            "A label map holds one label a voxel; this Slicer segmentation holds overlapping segments in layers. "
            "Export its segments as a label map volume."
        )
    n_frames = 1 if frame_axis is None else sizes[frame_axis]
    times: tuple[float, ...] = ()
    if n_frames > 1:
        times, said = frame_times_ms(*_index(fields, keys, frame_axis, n_frames))
        warnings += said
    endian = ">" if fields.get("endian", "little").lower() == "big" else "<"
    return VolumeHeader(
        FORMAT,
        tuple(sizes[axis] for axis in reversed(spatial)),
        n_frames,
        frame_axis == 0,
        np.dtype(endian + code),
        matrix,
        _payload(path, fields, offset, codec),
        frame_times_ms=times,
        warnings=warnings,
    )


def _parse(path: Path) -> tuple[dict[str, str], dict[str, str], int]:
    """Split the header into fields (name: value) and key/value pairs (key:=value); return where it ends."""
    with path.open("rb") as file:
        start = file.read(MAX_HEADER_BYTES)
    end = re.search(rb"\r?\n\r?\n", start)
    fields, keys = {}, {}
    for line in start[: end.start() if end else len(start)].decode("utf-8", "replace").splitlines()[1:]:
        if line.startswith("#"):
            continue
        key, found, value = line.partition(":=")
        if found:
            keys[key.strip()] = value.strip()
            continue
        name, found, value = line.partition(":")
        if found:
            fields[name.strip().lower()] = value.strip()
    detached = "data file" in fields or "datafile" in fields
    if not end and not detached:
        raise AnatomyError(
            "An NRRD header ends with an empty line; none was found in this file. Copy or export it again."
        )
    return fields, keys, end.end() if end else len(start)


def _frame_axis(fields: dict[str, str], sizes: list[int]) -> int | None:
    """Find the axis along which frames are counted; refuse colour and vectors.

    Raises:
        AnatomyError: If the array is not a volume or a cine of one.
    """
    kinds = [k.lower() for k in fields.get("kinds", "").split()] or [""] * len(sizes)
    colour = [k for k in kinds if k not in FRAME_KINDS | SPATIAL_KINDS]
    if colour:
        raise AnatomyError(
            f"Voxels must be single numbers; this NRRD holds {_kind_words(colour[0])} voxels. Export grey-scale MR."
        )
    directions = _vectors(fields.get("space directions", ""))
    if len(sizes) == 3:
        if any(k in FRAME_KINDS for k in kinds) or any(d is None for d in directions):
            raise AnatomyError(
                "A short-axis stack has three axes in space; this NRRD is a single slice over time. Load the whole "
                "stack."
            )
        return None
    if len(sizes) != 4:
        raise AnatomyError(
            f"A short-axis stack is a volume (3-D) or cine (4-D); this NRRD is {len(sizes)}-D. Load the whole stack, "
            "not one image."
        )
    marked = [a for a, k in enumerate(kinds) if k in FRAME_KINDS] or [a for a, d in enumerate(directions) if d is None]
    axis = marked[0] if marked else 3
    if axis not in (0, 3):
        raise AnatomyError(
            f"The frames of an NRRD cine must be its first or last axis; here they are axis {axis}. Export again."
        )
    return axis


def _kind_words(kind: str) -> str:
    """Return a kind of axis as the format names it; other words, which may name anybody, are not repeated."""
    return (
        kind
        if re.fullmatch(r"(rgba?-color|xyz-color|[234]-(color|vector|gradient)|vector|[\w]*-?matrix)", kind)
        else "other"
    )


def _vectors(text: str) -> list[np.ndarray | None]:
    """Parse "(1,0,0) none (0,1,0)"."""
    found = re.findall(r"\(([^()]*)\)|(none)", text)
    try:
        return [None if none else np.array([float(x) for x in numbers.split(",")]) for numbers, none in found]
    except ValueError:
        raise AnatomyError("The NRRD header's vectors must be numbers; found something else. Export again.") from None


def _floats(text: str) -> list[float]:
    try:
        return [float(x) for x in text.split()]
    except ValueError:
        raise AnatomyError("The NRRD header should hold numbers here; found other text. Export again.") from None


def _geometry(fields: dict[str, str], spatial: list[int], frame_axis: int | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Build voxel → RAS mm from the spatial axes' directions, or from bare spacings."""
    directions = _vectors(fields.get("space directions", ""))
    warnings: tuple[str, ...] = ()
    if directions:
        vectors = [directions[axis] for axis in spatial] if len(directions) > max(spatial) else []
        origin = (_vectors(fields.get("space origin", "")) or [np.zeros(3)])[0]
        if (
            len(vectors) != 3
            or any(v is None or v.size not in (3, 4) for v in vectors)
            or origin is None
            or origin.size < 3
        ):
            raise AnatomyError("NRRD needs three direction vectors in space; found fewer or others. Export again.")
        matrix = affine(np.stack([v[:3] for v in vectors], axis=1), origin[:3])
        space = fields.get("space", "").lower().removesuffix("-time").removesuffix("t")
        if space in SPACE_TO_RAS:
            matrix = SPACE_TO_RAS[space] @ matrix
        else:  # as ITK and Slicer do
            matrix = lps_to_ras(matrix)
            if "space dimension" not in fields:
                warnings = ("The NRRD's space is not an anatomical one; left-posterior-superior is assumed.",)
    else:
        spacings = _floats(fields.get("spacings", ""))
        if len(spacings) <= max(spatial):
            raise AnatomyError("NRRD needs space directions or spacings; this header has neither. Set the spacing.")
        step = np.array([spacings[axis] for axis in spatial])
        if not (step > 0).all():
            shown = "×".join(f"{s:g}" for s in step)
            raise AnatomyError(
                f"Voxel spacing must be positive; the NRRD header says {shown} mm. Set it and export again."
            )
        matrix = lps_to_ras(affine(np.diag(step), np.zeros(3)))
        warnings = ("The NRRD header has no orientation; axes are taken as left, posterior, superior.",)
    check_geometry(matrix, FORMAT)
    return matrix, warnings


def _index(fields: dict[str, str], keys: dict[str, str], axis: int, n_frames: int) -> tuple[list[float], str]:
    """Find the frame times and their unit: Slicer sequences, MultiVolume, or the axis itself."""
    units = re.findall(r'"([^"]*)"', fields.get("units", ""))
    unit = units[axis] if len(units) > axis else units[0] if len(units) == 1 else ""
    unit = keys.get(f"axis {axis} index units", keys.get(f"axis {axis} index unit", unit))
    for values in (keys.get(f"axis {axis} index values", ""), keys.get("MultiVolume.FrameLabels", "")):
        numbers = re.findall(r"[-+0-9.eE]+", values)
        if len(numbers) == n_frames:
            try:
                return [float(x) for x in numbers], unit or keys.get("MultiVolume.FrameIdentifyingDICOMTagUnits", "")
            except ValueError:
                break
    step = np.nan
    directions, spacings = _vectors(fields.get("space directions", "")), fields.get("spacings", "").split()
    if len(directions) > axis and directions[axis] is not None and directions[axis].size == 4:
        step = float(directions[axis][3])
    elif len(spacings) > axis:
        step = _floats(fields["spacings"])[axis]
    return list(step * np.arange(n_frames)), unit


def _payload(path: Path, fields: dict[str, str], offset: int, codec: str) -> Payload:
    """Say where the voxels are; a detached file must lie beside its header.

    Raises:
        AnatomyError: If the data file is elsewhere, several, or missing.
    """
    name = fields.get("data file", fields.get("datafile", ""))
    if name:
        if name.upper().startswith("LIST") or "%" in name or "/" in name or "\\" in name or name in (".", ".."):
            raise AnatomyError(
                "The voxels of an NRRD must be in the same file or in one file beside it; this header points "
                "elsewhere. "
                "Export as a single .nrrd."
            )
        path, offset = path.with_name(name), 0
        if not path.is_file():
            raise AnatomyError(
                "The NRRD header keeps its voxels in another file; no such file lies beside it. Copy both."
            )
    try:
        lines = int(fields.get("line skip", fields.get("lineskip", 0)))
        skip = int(fields.get("byte skip", fields.get("byteskip", 0)))
    except ValueError:
        raise AnatomyError(
            "NRRD line skip and byte skip must be whole numbers; found something else. Export again."
        ) from None
    if lines > 0:
        with path.open("rb") as file:
            file.seek(offset)
            for _ in range(min(lines, 10_000)):
                offset += len(file.readline(MAX_HEADER_BYTES))
    if skip == -1 and codec == "raw":
        sizes = np.prod([int(n) for n in fields["sizes"].split()], dtype=object)
        code = next(c for c, names in TYPES.items() if fields["type"].lower() in names.split("|"))
        skip = max(path.stat().st_size - offset - int(sizes) * np.dtype(code).itemsize, 0)
    skip = max(skip, 0)
    return Payload(path, offset + skip, codec) if codec == "raw" else Payload(path, offset, codec, skip)
