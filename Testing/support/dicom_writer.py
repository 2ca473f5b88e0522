"""Writers of DICOM cines that name a person."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

PRIVATE = {
    "PatientName": "Mustermann^Erika",
    "PatientID": "PID-4711-XYZ",
    "PatientBirthDate": "19640812",
    "InstitutionName": "Charite Musterklinik",
    "ReferringPhysicianName": "Doctor^Who",
    "StudyDescription": "Cor Mustermann",
    "SeriesDescription": "SAX Mustermann PID-4711-XYZ",
    "AccessionNumber": "ACC-99887",
}
"""What a DICOM file knows about a person and a place, planted in every file that `dicom_dataset` makes."""


def dicom_dataset(pixels, to_lps, trigger_ms=None, rr_ms=None, series="1", number=1, **extra):
    """Return an MR dataset: one image, in its place and time."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    for keyword, value in PRIVATE.items():
        setattr(dataset, keyword, value)
    dataset.Modality = "MR"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    dataset.SeriesInstanceUID = f"1.2.3.{series}"
    dataset.SeriesNumber = int(series)
    dataset.InstanceNumber = number
    if trigger_ms is not None:
        dataset.TriggerTime = round(float(trigger_ms), 3)
    if rr_ms is not None:
        dataset.NominalInterval = round(rr_ms)
    spacing = np.linalg.norm(to_lps[:3, :2], axis=0)
    dataset.ImagePositionPatient = [round(float(x), 6) for x in to_lps[:3, 3]]
    axes = (to_lps[:3, :2] / spacing).T.ravel()
    dataset.ImageOrientationPatient = [round(float(x), 8) for x in axes]
    dataset.PixelSpacing = [round(float(spacing[1]), 6), round(float(spacing[0]), 6)]
    dataset.SliceThickness = 8.0
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    if pixels.ndim == 3:
        dataset.NumberOfFrames = len(pixels)
    dataset.PixelData = pixels.astype("<u2").tobytes()
    for keyword, value in extra.items():
        setattr(dataset, keyword, value)
    return dataset


def dicom_cine(cine, ijk_to_ras, rr_ms=900.0, one_series=False, keep=lambda k, t: True, timed=True):
    """Return a short-axis cine as a list of datasets, by default one series a slice, in slice order."""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ ijk_to_ras
    n_times, depth = cine.shape[:2]
    intervals = np.broadcast_to(rr_ms, depth)
    out = []
    for k in range(depth):
        plane = lps.copy()
        plane[:3, 3] += k * lps[:3, 2]
        for t in range(n_times):
            if keep(k, t):
                out.append(
                    dicom_dataset(
                        cine[t, k],
                        plane,
                        trigger_ms=t / n_times * intervals[k] if timed else None,
                        rr_ms=intervals[k] if timed else None,
                        series="7" if one_series else str(k + 1),
                        number=k * n_times + t + 1 if one_series else t + 1,
                    )
                )
    return out


def save_dicom(folder: Path, datasets) -> Path:
    """Write datasets into a folder, under names and in an order that say nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(len(datasets)).permutation(len(datasets))
    for name, number in enumerate(order):
        datasets[number].save_as(folder / f"{name:05d}", enforce_file_format=True)
    return folder
