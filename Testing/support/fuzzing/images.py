"""Families of MRI and label files."""

import zipfile
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from COFGeneratorLib.anatomy import SaxStack, read_cine, read_labels, read_sax
from COFGeneratorLib.anatomy.readers.dicom_image import digest
from COFGeneratorLib.errors import AnatomyError

from support.cvi42_writer import workspace
from support.dicom_writer import dicom_cine, dicom_dataset, save_dicom
from support.fuzzing import binaries, texts
from support.fuzzing.family import Family

NORMAL = np.array([-0.6, 0.5, -0.6]) / np.linalg.norm([-0.6, 0.5, -0.6])
ROW = np.cross(NORMAL, [0.0, 0.0, 1.0]) / np.linalg.norm(np.cross(NORMAL, [0.0, 0.0, 1.0]))
TO_RAS = np.eye(4)
TO_RAS[:3, :3] = np.stack([3.8 * ROW, 3.7 * np.cross(NORMAL, ROW), 10.0 * NORMAL], axis=1)
"""Oblique; 3.8 × 3.7 × 10 mm."""
SHAPE = (4, 5, 24, 26)
MRML = (
    '<MRML version="Slicer5"><Volume id="V" name="x" references="storage:S;display:D;"/>'
    '<VolumeArchetypeStorage id="S" fileName="a.nrrd"/><VolumeDisplay id="D" window="9"/></MRML>'
)


def read(path: Path, number: int) -> object:
    """Read an image in one of two ways."""
    return read_cine(path) if number % 3 == 0 else read_sax(path, frame=number // 3 % 2)


@lru_cache
def anchor() -> SaxStack:
    """Return an image that labels belong to."""
    return SaxStack(np.random.default_rng(0).normal(size=SHAPE[1:]).astype(np.float32), TO_RAS)


def heart() -> np.ndarray:
    """Return labels (D, H, W) of a heart of cylinders: LV cavity, wall, and an RV beside them."""
    _, j, i = np.indices(SHAPE[1:])
    radius = np.hypot((j - 12.0) * 3.7, (i - 14.0) * 3.8)
    labels = np.zeros(SHAPE[1:], np.uint8)
    labels[(radius < 55) & (i < 10) & (abs(j - 12) < 8)] = 3
    labels[radius < 32] = 2
    labels[radius < 22] = 1
    return labels


def _cine() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 900, SHAPE).astype(np.int16)


def _with_simpleitk(folder: Path, names: Sequence[str]) -> list[Path]:
    import SimpleITK as sitk

    spacing = np.linalg.norm(TO_RAS[:3, :3], axis=0).tolist()
    volumes = [sitk.GetImageFromArray(frame) for frame in _cine()]
    for volume in volumes:
        volume.SetSpacing(spacing)
    joined = sitk.JoinSeries(volumes)
    joined.SetSpacing([*spacing, 40.0])
    paths = [folder / name for name in names]
    for path in paths:
        sitk.WriteImage(joined if path.name.startswith("a") else volumes[0], str(path), "z" in path.name)
    return paths


def _dicom(folder: Path) -> list[Path]:
    cine = _cine()[:2, :4, :16, :18].astype(np.uint16)
    return [
        save_dicom(folder / "slices", dicom_cine(cine, TO_RAS)),
        save_dicom(folder / "one", dicom_cine(cine, TO_RAS, one_series=True)),
    ]


def _enhanced(folder: Path) -> list[Path]:
    from pydicom.dataset import Dataset

    cine = _cine()[:3, :4, :16, :18].astype(np.uint16)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ TO_RAS
    whole = dicom_dataset(cine.reshape(-1, *cine.shape[2:]), lps)
    whole.SOPClassUID = whole.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4.1"
    frames = []
    for t in range(cine.shape[0]):
        for k in range(cine.shape[1]):
            one, place, axes, measures, cardiac = (Dataset() for _ in range(5))
            place.ImagePositionPatient = (lps[:3, 3] + k * lps[:3, 2]).round(5).tolist()
            axes.ImageOrientationPatient = whole.ImageOrientationPatient
            measures.PixelSpacing, measures.SliceThickness = whole.PixelSpacing, 8.0
            cardiac.NominalCardiacTriggerDelayTime, cardiac.NominalPercentageOfCardiacPhase = 300.0 * t, 33.0 * t
            one.PlanePositionSequence, one.PlaneOrientationSequence = [place], [axes]
            one.PixelMeasuresSequence, one.CardiacSynchronizationSequence = [measures], [cardiac]
            frames.append(one)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(whole, keyword)
    whole.PerFrameFunctionalGroupsSequence, whole.SharedFunctionalGroupsSequence = frames, [Dataset()]
    path = folder / "enhanced.dcm"
    whole.save_as(path, enforce_file_format=True)
    return [path]


def _packed(folder: Path) -> list[Path]:
    path = folder / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(_dicom(folder)[0].iterdir()):
            archive.write(file, f"x/{file.name}")
    return [path]


def _scene(folder: Path) -> list[Path]:
    (volume,) = _with_simpleitk(folder, ["a.nrrd"])
    path = folder / "a.mrb"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("s/scene.mrml", MRML)
        archive.write(volume, "s/a.nrrd")
    return [path]


def _mrml(folder: Path) -> list[Path]:
    place = folder / "scene"
    place.mkdir()
    _with_simpleitk(place, ["a.nrrd"])
    (place / "a.mrml").write_text(MRML)
    return [place]


def _segments(folder: Path) -> list[Path]:
    """Write a segmentation as Slicer does, in one layer, and one in layers."""
    labels = heart()
    axes = " ".join(f"({','.join(f'{value:.6g}' for value in column)})" for column in TO_RAS[:3, :3].T)
    words = "".join(
        f"Segment{n}_Name:={name}\nSegment{n}_LabelValue:={value}\nSegment{n}_Layer:={{}}\n"
        f"Segment{n}_Tags:=TerminologyEntry:Segmentation category~SCT^123037004^x~SCT^{code}^{name}~^^|\n"
        for n, (name, value, code) in enumerate(
            (("Left ventricle", 1, "87878005"), ("Myocardium", 2, "1"), ("Right ventricle", 3, "53085002"))
        )
    )
    paths = []
    for layers in (1, 3):
        stored = labels if layers == 1 else np.stack([labels * (labels == code) for code in (1, 2, 3)], axis=-1)
        sizes = " ".join(map(str, stored.shape[::-1]))
        extra = "none " if layers > 1 else ""
        head = (
            f"NRRD0004\ntype: uint8\ndimension: {stored.ndim}\nspace: right-anterior-superior\nsizes: {sizes}\n"
            f"space directions: {extra}{axes}\nkinds: {'list ' if layers > 1 else ''}domain domain domain\n"
            f"encoding: raw\nspace origin: (0,0,0)\n{words.format(*(range(3) if layers > 1 else (0, 0, 0)))}\n"
        )
        paths.append(folder / f"{layers}.seg.nrrd")
        paths[-1].write_bytes(head.encode() + stored.tobytes())
    return paths


def _dicom_seg(folder: Path) -> list[Path]:
    from COFGeneratorLib.export import Heart, write_export

    cine = _cine()[:2]
    labels = np.stack([heart()] * 2)
    made = Heart(cine, labels, TO_RAS, np.array([0.0, 400.0]), 800.0)
    write_export(made, folder, "dicom")
    return sorted((folder / "dicom").glob("labels*"))[:1]


def _workspace(folder: Path) -> list[Path]:
    place = folder / "contours"
    place.mkdir()
    angles = np.linspace(0, 6.2, 30)
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    named = {"saendocardialContour": 5.8 * circle + [14, 12], "saepicardialContour": 8.5 * circle + [14, 12]}
    (place / "a.cvi42wsx").write_text(workspace({str(k): named for k in range(SHAPE[1])}))
    return [place]


def _read_contours(path: Path, number: int) -> object:
    planes = {}
    for k in range(SHAPE[1]):
        to_ras = TO_RAS.copy()
        to_ras[:3, 3] += k * TO_RAS[:3, 2]
        planes[digest(str(k))] = (0, to_ras)
    return read_labels(path / "a.cvi42wsx", replace(anchor(), image_planes=planes))


def _read_labels(path: Path, number: int) -> object:
    return read_labels(path, anchor(), None if number % 2 else {"lv": 1, "myo": 2, "rv": 3})


_LINES = partial(texts.damaged_lines, divided_by=r"[\s,;:=()]+")
_NRRD = binaries.damaged_headed(_LINES, b"\n\n")
_META = binaries.damaged_headed(_LINES, b"LOCAL\n")
_SCENE = binaries.damaged_zip(
    lambda content, dice: (
        texts.in_text(texts.damaged_xml)(content, dice) if content[:1] == b"<" else _NRRD(content, dice)
    )
)

FAMILIES = (
    Family("nifti", lambda folder: _with_simpleitk(folder, ["a.nii", "a.nii.gz"]), binaries.damaged_nifti, read,
           AnatomyError, (".nii", ".nii.gz")),
    Family("nrrd", lambda folder: _with_simpleitk(folder, ["a.nrrd", "b.z.nrrd"]), _NRRD, read, AnatomyError,
           (".nrrd",)),
    Family("metaimage", lambda folder: _with_simpleitk(folder, ["a.mha", "b.z.mha"]), _META, read, AnatomyError,
           (".mha",)),
    Family("dicom", _dicom, binaries.damaged_dicom, read, AnatomyError, one_file=False),
    Family("dicom enhanced", _enhanced, binaries.damaged_dicom, read, AnatomyError),
    Family("dicom zip", _packed, binaries.damaged_zip(binaries.damaged_dicom), read, AnatomyError, (".zip",)),
    Family("scene", _scene, _SCENE, read, AnatomyError),
    Family("scene mrml", _mrml, {"*.mrml": texts.in_text(texts.damaged_xml)},
           lambda path, number: read(path / "a.mrml", number), AnatomyError),
    Family("segments", _segments, _NRRD, _read_labels, AnatomyError, (".seg.nrrd",)),
    Family("contours", _workspace, {"*.cvi42wsx": texts.in_text(texts.damaged_xml)}, _read_contours, AnatomyError),
    Family("dicom seg", _dicom_seg, binaries.damaged_dicom, _read_labels, AnatomyError),
)  # fmt: skip
