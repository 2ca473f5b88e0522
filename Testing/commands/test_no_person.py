"""What a file knows about a person reaches nothing that is written or printed, whatever the format.

Names, numbers, birth dates and places are planted where each format keeps them, in file names and in comments; every
byte of every result is then searched, archives unpacked.
"""

import gzip
import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from COFGeneratorLib.anatomy import read_sax
from COFGeneratorLib.ecg import read_ecg
from COFGeneratorLib.errors import AnatomyError
from support.dicom_writer import dicom_dataset
from support.ecg_files import FORMATS
from support.ecg_writers import PERSON as ECG_PERSON
from support.ecg_writers import a_signal

IMAGE_PERSON = {
    "PatientName": "Mustermann^Erika", "PatientID": "PID-4711-XYZ", "PatientBirthDate": "19640812",
    "InstitutionName": "Musterklinik", "ReferringPhysicianName": "Overseer^Anna", "AccessionNumber": "ACC-99887",
}  # fmt: skip
PLAIN_ECGS = FORMATS[:-2] + FORMATS[-1:]
"""All formats; of the two MATLAB files that one whose texts are not compressed."""
WORDS = sorted({word for value in (*IMAGE_PERSON.values(), *ECG_PERSON.values()) for word in value.split("^")})


def found_in(content: bytes, where: str) -> list[str]:
    """Return the planted words in bytes, as text of one or two bytes a letter, within zips and gzip too."""
    out = [f"{word} in {where}" for word in WORDS for code in ("utf-8", "utf-16-le") if word.encode(code) in content]
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                out += found_in(name.encode() + b"\n" + archive.read(name), f"{where}:{name}")
    if content[:2] == b"\x1f\x8b":
        out += found_in(gzip.decompress(content), where)
    return out


def found_below(folder: Path) -> list[str]:
    """Search every file of a result, and the names of its files."""
    out = []
    for path in folder.rglob("*"):
        out += found_in(path.name.encode(), "a file name")
        if path.is_file():
            out += found_in(path.read_bytes(), path.name)
    return out


def test_the_search_finds_what_it_looks_for(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", "Mustermann " * 50)
    (tmp_path / "a.mrb").write_bytes(buffer.getvalue())
    (tmp_path / "b.gz").write_bytes(gzip.compress("Zyxwvut".encode("utf-16-le")))
    assert len(found_below(tmp_path)) == 2


# ---------------------------------------------------------------- writers of anchors that name a person


def _nifti(folder: Path, image) -> Path:
    path = folder / "a.nii"
    sitk.WriteImage(image, str(path))
    content = bytearray(path.read_bytes())
    for at, width in ((4, 10), (14, 18), (148, 80), (228, 24), (328, 16)):  # data_type … intent_name
        content[at : at + width] = (b"Mustermann PID-4711-XYZ" * 4)[:width]
    path.write_bytes(content)
    return path


def _nrrd(folder: Path, image) -> Path:
    path = folder / "a.nrrd"
    sitk.WriteImage(image, str(path), useCompression=True)
    head, body = path.read_bytes().split(b"\n\n", 1)
    planted = "".join(f"{key}:={value}\n" for key, value in IMAGE_PERSON.items())
    head += f"\n# Mustermann\ncontent: Mustermann PID-4711-XYZ\n{planted}".encode().rstrip()
    path.write_bytes(head + b"\n\n" + body)
    return path


def _metaimage(folder: Path, image) -> Path:
    path = folder / "a.mha"
    sitk.WriteImage(image, str(path))
    content = path.read_bytes()
    planted = "".join(f"{key} = {value}\n" for key, value in IMAGE_PERSON.items())
    path.write_bytes(content.replace(b"NDims", f"Comment = Mustermann\n{planted}NDims".encode(), 1))
    return path


def _dicom(folder: Path, image) -> Path:
    make = dicom_dataset
    voxels = np.clip(sitk.GetArrayFromImage(image), 0, 60000).astype(np.uint16)
    lps = np.eye(4)
    lps[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    lps[:3, 3] = image.GetOrigin()
    out = folder / "Mustermann"
    out.mkdir()
    for k, pixels in enumerate(voxels):
        plane = lps.copy()
        plane[:3, 3] += k * lps[:3, 2]
        dataset = make(pixels, plane, 0.0, 900, number=k + 1, **IMAGE_PERSON)
        private = dataset.private_block(0x0099, "Mustermann", create=True)
        private.add_new(1, "LO", "PID-4711-XYZ")
        dataset.save_as(out / f"Mustermann{k}.dcm", enforce_file_format=True)
    return out


def _zip(folder: Path, image) -> Path:
    path = folder / "PID-4711-XYZ.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = b"Mustermann"
        for file in sorted(_dicom(folder, image).iterdir()):
            archive.write(file, f"Mustermann/{file.name}")
    return path


def _scene(folder: Path, image) -> Path:
    path = folder / "Mustermann.mrb"
    mrml = (
        '<MRML><Volume id="V" name="Mustermann" description="PID-4711-XYZ" references="storage:S;"/>'
        '<VolumeArchetypeStorage id="S" fileName="Data/Mustermann.nrrd"/></MRML>'
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Mustermann/Mustermann.mrml", mrml)
        archive.write(_nrrd(folder, image), "Mustermann/Data/Mustermann.nrrd")
    return path


ANCHORS = {"nifti": _nifti, "nrrd": _nrrd, "metaimage": _metaimage, "dicom": _dicom, "zip": _zip, "scene": _scene}


def _unlike(path: Path) -> Path:
    """Make sure that what was planted is really in the input."""
    files = [path] if path.is_file() else sorted(path.iterdir())
    assert any(found_in(file.read_bytes(), file.name) for file in files)
    return path


@pytest.fixture(scope="module")
def signal():
    return a_signal()


def test_generate_writes_and_prints_nothing_about_a_person(cof, a_patient, a_bundle, tmp_path, signal):
    """The anchor that knows most, with an ECG and labels that name a person, too."""
    folder = tmp_path / "Mustermann PID-4711-XYZ"
    folder.mkdir()
    image = sitk.ReadImage(str(a_patient.anchor))
    _, write_ecg, _ = FORMATS[2]  # DICOM
    labels = folder / "labels"
    labels.mkdir()
    words = [
        "generate", "--anchor", _unlike(_dicom(folder, image)),
        "--ecg", _unlike(write_ecg(folder, signal, 500.0)),
        "--labels", _nrrd(labels, sitk.ReadImage(str(a_patient.labels))), "--label-map", "lv=1,myo=2,rv=3",
        "--model", a_bundle, "--frames", 4, "--device", "cpu", "--out", tmp_path / "out",
        "--events", tmp_path / "events.jsonl",
    ]  # fmt: skip
    run = cof(*words)
    assert run.code == 0, run.err
    assert found_below(tmp_path / "out") == []
    assert found_in((tmp_path / "events.jsonl").read_bytes(), "events") == []
    assert found_in((run.out + run.err).encode(), "the terminal") == []


@pytest.mark.parametrize("name", ANCHORS)
def test_an_anchor_carries_nothing_about_a_person(a_patient, tmp_path, name, capfd):
    """What is written comes from the stack alone: its voxels, geometry, times, hash and warnings."""
    stack = read_sax(_unlike(ANCHORS[name](tmp_path, sitk.ReadImage(str(a_patient.anchor)))))
    assert found_in(repr(vars(stack)).encode(), "the stack") == []
    assert found_in("".join(capfd.readouterr()).encode(), "the terminal") == []


@pytest.mark.parametrize("row", PLAIN_ECGS, ids=[row[0] for row in PLAIN_ECGS])
def test_ecg_writes_and_prints_nothing_about_a_person(cof, tmp_path, signal, row):
    folder = tmp_path / "Zyxwvut"
    folder.mkdir()
    path = _unlike(row[1](folder, signal, 500.0))
    run = cof("ecg", path, "--out", tmp_path / "out", "--events", tmp_path / "events.jsonl")
    assert run.code == 0
    data = path.read_bytes()
    said = run.out + run.err
    for cut in (len(data) // 2, len(data) - 30):  # what is said about a damaged file
        path.write_bytes(data[:cut])
        damaged = cof("ecg", path, "--out", tmp_path / "no")
        said += damaged.out + damaged.err
        assert damaged.code in (0, 2)
    assert found_below(tmp_path / "out") == []
    assert found_in((tmp_path / "events.jsonl").read_bytes(), "events") == []
    assert found_in(said.encode(), "the terminal") == []


def test_headers_are_not_quoted(a_patient, tmp_path):
    """Fields of a header that hold a person instead of a number, a name or a unit."""
    image = sitk.ReadImage(str(a_patient.anchor))
    nrrd, mha = _nrrd(tmp_path, image), _metaimage(tmp_path, image)
    fields = {
        nrrd: ("type: ", "encoding: ", "space: ", "space origin: ", "space directions: ", "kinds: ", "sizes: ",
               "dimension: ", "endian: "),
        mha: ("ElementType = ", "DimSize = ", "ElementSpacing = ", "ElementDataFile = ", "NDims = ",
              "TransformMatrix = "),
    }  # fmt: skip
    said = ""
    for path, names in fields.items():
        good = path.read_bytes()
        changed = [good.replace(b"\n\n", b"\ndata file: Mustermann.raw\n\n", 1)] if path == nrrd else []
        changed += [good.replace(b"\n\n", b'\nunits: "Mustermann"\n\n', 1)]
        for name in names:
            at = good.index(name.encode())
            changed.append(good[:at] + name.encode() + b"Mustermann" + good[good.index(b"\n", at) :])
        for content in changed:
            path.write_bytes(content)
            try:
                said += repr(read_sax(path).warnings)
            except AnatomyError as error:
                said += str(error)
    assert len(said) > 1000
    assert found_in(said.encode(), "a message") == []


def test_the_readers_see_what_was_planted_nowhere(tmp_path, signal):
    """The record made from a file with a name in it is the record made from one without."""
    for _, write, _ in PLAIN_ECGS:
        record = read_ecg(write(tmp_path, signal, 500.0))
        assert found_in(repr(record).encode() + struct.pack("<d", record.fs_hz), "record") == []
