"""Hostile files of the kinds that grow: each is small, and claims or repeats what would cost much."""

import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

BOMB_BYTES = 96 << 20
"""What the bombs inflate to."""


def zip_understated(folder: Path) -> Path:
    """An archive that lists a kilobyte where nearly a hundred megabytes come out."""
    path = folder / "zip_understated.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.dcm", bytes(128) + b"DICM" + bytes(BOMB_BYTES))
    content = bytearray(path.read_bytes())
    for start, at in ((content.find(b"PK\3\4"), 22), (content.find(b"PK\1\2"), 24)):
        struct.pack_into("<I", content, start + at, 1024)
    path.write_bytes(content)
    return path


def zip_many(folder: Path) -> Path:
    """An archive of more empty members than any study has."""
    path = folder / "zip_many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(20_001):
            archive.writestr(f"{number}", b"")
    return path


def zip_lzma(folder: Path) -> Path:
    """An archive that is packed by what needs a dictionary of its own size."""
    path = folder / "zip_lzma.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.dcm", bytes(1 << 20))
    return path


def nrrd_endless(folder: Path) -> Path:
    """A header that never ends."""
    path = folder / "nrrd_endless.nrrd"
    path.write_bytes(b"NRRD0005\n" + b"# x\n" * 500_000)
    return path


def nrrd_fields(folder: Path) -> Path:
    """A header of a hundred thousand segments."""
    path = folder / "nrrd_fields.nrrd"
    lines = "".join(f"Segment{n}_Layer:={n}\n" for n in range(40_000))
    head = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: 4 4 4\nencoding: raw\nspace: right-anterior-superior\n"
    head += "space directions: (2,0,0) (0,2,0) (0,0,9)\nspace origin: (0,0,0)\n"
    path.write_bytes((head + lines + "\n").encode() + bytes(64))
    return path


def mha_matrix(folder: Path) -> Path:
    """A header whose numbers are long texts."""
    path = folder / "mha_matrix.mha"
    path.write_text("ObjectType = Image\nNDims = 3\nDimSize = " + "9" * 60_000 + " 4 4\nElementDataFile = LOCAL\n")
    return path


def xml_laughs(folder: Path) -> Path:
    """Entities of entities."""
    path = folder / "redos_xml_entities.xml"
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    path.write_text(f'<!DOCTYPE x [<!ENTITY a0 "aaaaaaaaaa">{entities}]><AnnotatedECG>&a11;</AnnotatedECG>')
    return path


def xml_deep(folder: Path) -> Path:
    """Elements within elements."""
    path = folder / "redos_xml_deep.xml"
    path.write_text("<AnnotatedECG>" + "<a>" * 140_000 + "</a>" * 140_000 + "</AnnotatedECG>")
    return path


def csv_columns(folder: Path) -> Path:
    """A table of half a million columns."""
    path = folder / "redos_csv_columns.csv"
    path.write_text("# fs_hz: 500\n" + ",".join(["I"] * 500_000) + "\n" + ",".join(["1"] * 500_000) + "\n")
    return path


def mat_bomb(folder: Path) -> Path:
    """A compressed element that inflates to nearly a hundred megabytes."""
    path = folder / "mat_bomb.mat"
    inner = struct.pack("<II", 14, BOMB_BYTES) + bytes(BOMB_BYTES)
    packed = zlib.compress(inner, 9)
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + struct.pack("<II", 15, len(packed)) + packed)
    return path


def wfdb_signals(folder: Path) -> Path:
    """A record of a hundred thousand signals."""
    path = folder / "wfdb_signals.hea"
    path.write_text("x 100000 500 5000\n" + "x.dat 16 1000(0)/mV 16 0 0 0 0 I\n" * 100_000)
    return path


def _dicom_file(path: Path, elements: bytes) -> Path:
    syntax = b"1.2.840.10008.1.2.1\0"
    meta = struct.pack("<HH2sH", 2, 0x10, b"UI", len(syntax)) + syntax
    meta = struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(meta)) + meta
    path.write_bytes(bytes(128) + b"DICM" + meta + elements)
    return path


ENDLESS_ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, 2**32 - 1)
ENDLESS_SEQUENCE = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 2**32 - 1)


def dicom_deep(folder: Path) -> Path:
    """Sequences within sequences, none of which says where it ends."""
    return _dicom_file(folder / "dicom_deep.dcm", (ENDLESS_SEQUENCE + ENDLESS_ITEM) * 50_000)


def dicom_items(folder: Path) -> Path:
    """Items within items of one sequence, which cost a library the square of their number."""
    return _dicom_file(folder / "dicom_items.dcm", ENDLESS_SEQUENCE + ENDLESS_ITEM * 45_000)


def dicom_samples(folder: Path) -> Path:
    """An ECG whose header promises four thousand million samples."""
    from support.ecg_writers import a_signal, dicom_bytes

    path = folder / "dicom_samples.dcm"
    content = bytearray(dicom_bytes(a_signal(2.0), 500.0))
    at = content.find(struct.pack("<HH", 0x003A, 0x0010))
    struct.pack_into("<I", content, at + 8, 2**32 - 1)
    path.write_bytes(content)
    return path


def dicom_jpeg(folder: Path) -> Path:
    """A stack of 64 × 64 pixels by its headers, whose JPEG frames hold 81 million each, and claim more."""
    import io

    from PIL import Image
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGBaseline8Bit

    from support.dicom_writer import dicom_dataset

    stream = io.BytesIO()
    Image.new("L", (9000, 9000)).save(stream, "JPEG", quality=1)
    claims = bytearray(stream.getvalue())
    struct.pack_into(">HH", claims, claims.find(b"\xff\xc0") + 5, 65_000, 65_000)
    axes = np.linalg.qr([[0.6, 0.6, 0.5], [-0.5, 0.8, 0.1], [-0.6, 0.0, 0.8]])[0]  # the first is the stack's normal
    place = np.eye(4)
    place[:3, :3] = axes[:, [1, 2, 0]] * [1.5, 1.5, 1.0]
    path = folder / "dicom_jpeg.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(6):
            place[:3, 3] = 9.0 * number * axes[:, 0]
            dataset = dicom_dataset(np.zeros((64, 64), np.uint16), place, 0, 900, "3", number + 1)
            dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
            dataset.BitsAllocated = dataset.BitsStored = 8
            dataset.HighBit = 7
            dataset.PixelData = encapsulate([stream.getvalue() if number % 2 else bytes(claims)])
            dataset["PixelData"].is_undefined_length = True
            member = io.BytesIO()
            dataset.save_as(member, enforce_file_format=True)
            archive.writestr(f"{number}.dcm", member.getvalue())
    return path


def edf_claims(folder: Path) -> Path:
    """A header of ten thousand signals and a hundred million records."""
    path = folder / "edf_claims.edf"
    head = b"0".ljust(8) + b" " * 160 + b"01.01.2010.00.00" + b"2560256".ljust(8) + b" " * 44
    path.write_bytes(head + b"99999999" + b"1".ljust(8) + b"9999" + b"1".ljust(256) * 9999)
    return path


def scp_beats(folder: Path) -> Path:
    """A recording with as many reference beats as its field can count."""
    from support.ecg_writers import a_signal
    from support.scp_writer import scp_bytes

    path = folder / "scp_beats.scp"
    digits = np.round(a_signal(10.0) * 200).astype(int)
    path.write_bytes(scp_bytes(digits, reference=(digits[:, :250] * 0, 100, [300] * 60_000)))
    return path


MADE = (
    zip_understated, zip_many, zip_lzma, nrrd_endless, nrrd_fields, mha_matrix, xml_laughs, xml_deep, csv_columns,
    mat_bomb, wfdb_signals, dicom_deep, dicom_items, dicom_samples, dicom_jpeg, edf_claims, scp_beats,
)  # fmt: skip
