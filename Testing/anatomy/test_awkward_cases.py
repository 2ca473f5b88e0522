"""Small files after public bug reports, each with the right answer; pixel blocks tell slice and phase."""

import tracemalloc

import numpy as np
import pytest
from COFGeneratorLib.anatomy import read_cine, read_labels, read_sax
from COFGeneratorLib.anatomy.readers.segment_names import role_of
from COFGeneratorLib.errors import AnatomyError

ALL_RIGHT = {
    "plain": "", "st4": "series 50 (perfusion", "st7": "series 80 (tagging", "st2": "series 60 (late enhancement",
    "trigabs": "start of the scan", "enhp": "", "frt": "", "gap": "off an even distance", "jit": "off an even distance",
    "rot": "turned", "two": "2.0 heart beats", "real": "real part", "nonunit": "unit length", "pro": "80 %",
}  # fmt: skip


@pytest.fixture(scope="module")
def cases(shared_data):
    folder = shared_data / "cases"
    if not folder.is_dir():
        pytest.skip("the awkward cases are not on this machine")
    return folder


@pytest.mark.parametrize("name", ALL_RIGHT)
def test_every_slice_and_phase_is_where_it_belongs_and_what_was_done_is_said(cases, name):
    stack = read_cine(cases / "mri" / f"{name}.zip")
    phases = 25 if name.startswith("st") else 10
    assert stack.frames.shape == (phases, 8, 64, 64)
    tolerance = 1.5 if name in ("gap", "jit") else 0
    np.testing.assert_allclose(
        stack.frames[:, :, 2, 2], np.tile(100 + 10.0 * np.arange(8), (phases, 1)), atol=tolerance
    )
    np.testing.assert_array_equal(stack.frames[:, :, 2, 8], np.tile(100 + 10.0 * np.arange(phases)[:, None], (1, 8)))
    assert not (stack.frames[:, :, 0, 0] == 900).any()
    if name != "enhp":
        times = 20 + 72.0 * np.arange(10) if name == "pro" else 900.0 * np.arange(phases) / phases
        np.testing.assert_allclose(stack.frame_times_ms, times, atol=0.1)
        assert stack.rr_ms == 900.0
    assert ALL_RIGHT[name] in " ".join(stack.warnings)


@pytest.mark.parametrize(("name", "said"), [("perfg", "perfusion"), ("molli", "T1 mapping")])
def test_what_is_no_cine_is_refused_by_name(cases, name, said):
    with pytest.raises(AnatomyError, match=said):
        read_sax(cases / "mri" / f"{name}.zip")


def test_a_vector_image_is_a_cine(cases):
    stack = read_cine(cases / "mri" / "vector5d.nii.gz")
    assert stack.frames.shape[0] == 10
    np.testing.assert_array_equal(stack.frames[:, 0, 2, 8], 100 + 10.0 * np.arange(10))


@pytest.mark.parametrize("name", ["names", "layers_apart", "endo_epi_layers"])
def test_names_of_segments_decide(cases, name):
    anchor = read_sax(cases / "mri" / "labels_anchor.nii.gz")
    path = cases / "mri" / f"labels_{name}.seg.nrrd"
    labels = read_labels(path, anchor)
    assert [int((labels == code).sum()) for code in (1, 2, 3)] == [2649, 3188, 4126]
    np.testing.assert_array_equal(read_labels(path, anchor, {"LV": 1, "MYO": 2, "RV": 3}), labels)
    with pytest.raises(AnatomyError, match="Give --label-map lv=1,myo=2,rv=3, or leave it out"):
        read_labels(path, anchor, {"lv": 3, "myo": 2, "rv": 1})


ATTACKS = (
    "zip_bz2_bomb.zip", "zip_name_7.zip", "zip_overlap.zip", "nrrd_frames_1e9.nrrd", "mha_frames_1e9.mha",
    "nii2_frames_1e9.nii", "nrrd_huge_sizes.nrrd", "nrrd_4300digits.nrrd",
)  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_are_refused_in_words_without_spending_memory(cases, name):
    tracemalloc.start()
    try:
        with pytest.raises(AnatomyError) as refused:
            read_sax(cases / "attacks" / name)
        assert tracemalloc.get_traced_memory()[1] < 50 << 20
    finally:
        tracemalloc.stop()
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    ("words", "role"),
    [
        (("Left ventricle",), "lv"), (("LV blood pool",), "lv"), (("LVC",), "lv"), (("endocardium",), "lv"),
        (("LV-Myo",), "myo"), (("Left ventricular wall",), "myo"), (("LV epicardium",), "epi"),
        (("RVC",), "rv"), (("Right Ventricle",), "rv"), (("RV myocardium",), None), (("Left atrium",), None),
        (("Segment_1", "", "SCT", "87878005", "x"), "lv"), (("Segment_2", "T-32500"), "rv"), (("Scar",), "scar"),
        (("Segment_3", "x", "SCT", "1", "Myocardium"), "myo"), (("LeftVentricle",), "lv"), (("thing",), None),
        (("Linker Ventrikel",), "lv"), (("Ventricule droit",), "rv"), (("Myocarde du ventricule gauche",), "myo"),
    ],
)  # fmt: skip
def test_synonyms_and_terminology_of_segments(words, role):
    assert role_of(words) == role
