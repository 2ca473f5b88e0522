"""A day's study around a recorded cine: the cine alone is read, to the last voxel, and the rest is named."""

import numpy as np
import pytest
from COFGeneratorLib.anatomy import read_cine
from support.dicom_writer import save_dicom
from support.study import FOREIGN, RR_MS, study

LEFT_OUT = {
    "series 1 ": "slices", "series 20 ": "four-chamber", "series 21 ": "two-chamber", "series 50 ": "tagging",
    "series 60 ": "perfusion", "series 70 ": "late enhancement", "series 75 ": "T1 mapping",
    "series 80 ": "phase contrast",
}  # fmt: skip


@pytest.fixture(scope="module")
def cine_file(shared_data):
    path = shared_data / "mri" / "bivme" / "bivme_sax_4d.nii.gz"
    if not path.is_file():
        pytest.skip("the recorded cine is not on this machine")
    return path


def test_the_cine_s_voxels_are_untouched_and_all_else_is_named(cine_file, tmp_path):
    recorded = read_cine(cine_file)
    stack = read_cine(save_dicom(tmp_path / "study", list(study(cine_file))))
    np.testing.assert_array_equal(stack.frames, recorded.frames)
    np.testing.assert_allclose(stack.ijk_to_ras, recorded.ijk_to_ras, atol=1e-3)
    assert stack.frames.max() < FOREIGN
    assert stack.rr_ms == RR_MS
    (told,) = [said for said in stack.warnings if said.startswith("Read: ")]
    read, left_out = told.split("Left out: ")
    assert "series 30 to 35 (cine, 6 slices × 25 phases)" in read
    for series, said in LEFT_OUT.items():
        assert any(part.startswith(series) and said in part for part in left_out.split("; ")), (series, left_out)
