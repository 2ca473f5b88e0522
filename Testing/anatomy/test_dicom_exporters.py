"""The same cine as different scanners and archives export it: the images and their places stay what they are."""

import numpy as np
import pytest
from COFGeneratorLib.anatomy import read_cine

T = 6


@pytest.fixture(scope="module")
def cine() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 900, (T, 4, 14, 12)).astype(np.uint16)


def _numbered_by_phase(datasets, depth):
    for number, dataset in enumerate(datasets):
        k, t = divmod(number, T)
        dataset.InstanceNumber = t * depth + k + 1
        del dataset.TriggerTime, dataset.NominalInterval


def _change(**values):
    def change(datasets, depth):
        for dataset in datasets:
            for keyword, value in values.items():
                if value is None:
                    delattr(dataset, keyword)
                else:
                    setattr(dataset, keyword, value)

    return change


@pytest.mark.parametrize(
    "change",
    [
        _change(TriggerTime=0), _change(NominalInterval=None), _change(NominalInterval=0, HeartRate="0"),
        _change(NominalInterval=None, HeartRate="67"), _change(Modality=""), _change(Modality=None),
        _change(BitsStored=12, HighBit=11), _change(Manufacturer="GE", CardiacNumberOfImages=T), _numbered_by_phase,
    ],
    ids=["no time", "no R–R", "zero R–R", "rate", "no modality", "modality gone", "12 bits", "counts", "by phase"],
)  # fmt: skip
@pytest.mark.parametrize("one_series", [True, False])
def test_exporters_differ_and_the_cine_is_the_same(tmp_path, cine, oblique, dicom_cine, save_dicom, change, one_series):
    datasets = dicom_cine(cine, oblique, one_series=one_series)
    change(datasets, cine.shape[1])
    found = read_cine(save_dicom(tmp_path / "d", datasets))
    np.testing.assert_array_equal(found.frames, cine)
    np.testing.assert_allclose(found.ijk_to_ras, oblique, atol=1e-4)


def test_bright_and_dark_exchanged_are_turned_back(tmp_path, cine, oblique, dicom_cine, save_dicom):
    datasets = dicom_cine(4095 - cine, oblique)
    _change(PhotometricInterpretation="MONOCHROME1", BitsStored=12, HighBit=11)(datasets, cine.shape[1])
    found = read_cine(save_dicom(tmp_path / "d", datasets))
    np.testing.assert_array_equal(found.frames, cine)
    assert any("MONOCHROME1" in w for w in found.warnings)


def test_a_table_of_contents_beside_the_images_is_no_image(tmp_path, cine, oblique, dicom_cine, save_dicom):
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    folder = save_dicom(tmp_path / "d", dicom_cine(cine, oblique))
    contents = Dataset()
    contents.file_meta = FileMetaDataset()
    contents.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    contents.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    contents.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    contents.FileSetID = "DISC"
    contents.save_as(folder / "DICOMDIR", enforce_file_format=True)
    assert not any("DICOM files" in warning for warning in read_cine(folder).warnings)
