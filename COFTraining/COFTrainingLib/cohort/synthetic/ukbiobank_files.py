"""Phantoms in UK Biobank's layout: to try an import, a cluster and a whole training before real data are touched.

A visit is ``PERSON_20209_2_0.zip``, one DICOM series a slice with a ``manifest.csv`` beside the images, and
``PERSON_20205_2_0.xml``, a CardioSoft resting ECG. Nothing in them says what is true of the phantom; where they are
asked for, ``labels/PERSON_20209_2_0.seq.nrrd`` are its labels, in place of those that a segmentation of the lab's own
would give.
"""

import csv
import io
import zipfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from COFGeneratorLib.anatomy.geometry import LPS_TO_RAS
from COFGeneratorLib.ecg.record import LEADS, EcgRecord
from COFGeneratorLib.files import replacing
from COFGeneratorLib.jobs.workers import spread

from COFTrainingLib.cohort.nrrd import write_nrrd
from COFTrainingLib.cohort.synthetic.phantom_files import PhantomOptions, case_labels
from COFTrainingLib.cohort.synthetic.phantom_images import render_case
from COFTrainingLib.phantom.cases import draw_case

LABELS = "labels"
"""Folder of the labelled cines, beside the downloads."""
VISIT = 2
"""The first imaging visit is instance 2."""
FIRST_PERSON = 1_000_000
UID_ROOT = "1.2.826.0.1.3680043.10.1379.99"
MICROVOLTS = 5
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
SAX = "CINE_segmented_SAX_b{slice}"


def person_of(seed: int) -> str:
    """Return the seven digits of a phantom's participant."""
    return str(FIRST_PERSON + seed % 9_000_000)


def write_visits(
    folder: Path, seeds: Sequence[int], options: PhantomOptions, workers: int = 1, labels: bool = False
) -> Iterator[list[Path]]:
    """Write the visits of some phantoms, yielding their files as they are done."""
    return spread(partial(write_visit, folder, options=options, labels=labels), list(seeds), workers=workers)


def write_visit(folder: Path, seed: int, options: PhantomOptions, labels: bool = False) -> list[Path]:
    """Write the files of a phantom's visit, complete or not at all, unless they are there.

    Returns the zip of the cine, the XML of the ECG, and the labels of all frames where they are asked for.
    """
    person = person_of(seed)
    cine, ecg = folder / f"{person}_20209_{VISIT}_0.zip", folder / f"{person}_20205_{VISIT}_0.xml"
    marked = folder / LABELS / f"{cine.stem}.seq.nrrd"
    wanted = [cine, ecg, marked] if labels else [cine, ecg]
    if all(path.is_file() for path in wanted):
        return wanted
    folder.mkdir(parents=True, exist_ok=True)
    case = draw_case(seed, options.spacing_mm, prevalence=options.prevalence)
    rr_ms = case.subject.physiology.rr_ms
    times = np.arange(options.frames) / options.frames * rr_ms
    if labels:
        marked.parent.mkdir(exist_ok=True)
        write_nrrd(marked, case_labels(case, times), case.plan.ijk_to_ras, times)
    images = render_case(case, times)
    for path, content in ((cine, _zip(images, case.plan.ijk_to_ras, times, rr_ms, person)), (ecg, _xml(case.record))):
        with replacing(path) as beside:
            beside.write_bytes(content)
    return wanted


def _zip(images: np.ndarray, ijk_to_ras: np.ndarray, times_ms: np.ndarray, rr_ms: float, person: str) -> bytes:
    """Return a zip of DICOM images, (T, D, H, W) int16, one series a slice, with their list."""
    to_lps, out, rows = LPS_TO_RAS @ ijk_to_ras, io.BytesIO(), []
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
        for k in range(images.shape[1]):
            plane = to_lps.copy()
            plane[:3, 3] += k * to_lps[:3, 2]
            for t, time_ms in enumerate(times_ms):
                uid = f"{UID_ROOT}.{person}.{k + 1}.{t + 1}"
                name = f"{uid}.dcm"
                image = _dicom(images[t, k], plane, k=k, t=t, time_ms=time_ms, rr_ms=rr_ms, person=person, uid=uid)
                archive.writestr(zipfile.ZipInfo(name), image)
                rows.append([name, person, SAX.format(slice=k + 1)])
        listing = io.StringIO()
        csv.writer(listing).writerows([["filename", "patientid", "series discription"], *rows])
        archive.writestr(zipfile.ZipInfo("manifest.csv"), listing.getvalue())
    return out.getvalue()


def _dicom(
    pixels: np.ndarray, plane: np.ndarray, *, k: int, t: int, time_ms: float, rr_ms: float, person: str, uid: str
) -> bytes:
    """Return frame ``t`` of slice ``k`` as a DICOM file."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    spacing = np.linalg.norm(plane[:3, :2], axis=0)
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = MR_IMAGE
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = uid
    facts: dict[str, Any] = {
        "Modality": "MR",
        "ImageType": ["ORIGINAL", "PRIMARY", "M"],
        "PatientID": person,
        "PatientName": "",
        "StudyInstanceUID": f"{UID_ROOT}.{person}",
        "SeriesInstanceUID": f"{UID_ROOT}.{person}.{k + 1}",
        "SeriesDescription": SAX.format(slice=k + 1),
        "SeriesNumber": k + 1,
        "InstanceNumber": t + 1,
        "TriggerTime": round(float(time_ms), 3),
        "NominalInterval": round(rr_ms),
        "CardiacNumberOfImages": 1,
        "ImagePositionPatient": [round(float(x), 6) for x in plane[:3, 3]],
        "ImageOrientationPatient": [round(float(x), 8) for x in (plane[:3, :2] / spacing).T.ravel()],
        "PixelSpacing": [round(float(spacing[1]), 6), round(float(spacing[0]), 6)],
        "SliceThickness": 8.0,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": pixels.shape[0],
        "Columns": pixels.shape[1],
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
        "PixelData": pixels.astype("<u2").tobytes(),
    }
    for keyword, value in facts.items():
        setattr(image, keyword, value)
    out = io.BytesIO()
    image.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _xml(record: EcgRecord) -> bytes:
    """Return a record as CardioSoft writes it, 5 µV a step."""
    steps = np.round(record.signal_mv * 1000.0 / MICROVOLTS).astype(int)
    waves = "\n".join(
        f'<WaveformData lead="{lead}">{",".join(map(str, row))}</WaveformData>'
        for lead, row in zip(LEADS, steps, strict=True)
    )
    text = (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<CardiologyXML><ObservationType>RestECG</ObservationType>\n'
        f'<StripData><NumberOfLeads>12</NumberOfLeads><SampleRate units="Hz">{record.fs_hz:g}</SampleRate>'
        f'<Resolution units="uVperLsb">{MICROVOLTS}</Resolution>\n{waves}\n</StripData></CardiologyXML>\n'
    )
    return text.encode("latin-1")
