"""Segments by the words of many tools and languages, and label maps made of them."""

import numpy as np
import pytest
from COFGeneratorLib.anatomy.readers.segment_names import add_segment, merged, role_of
from COFGeneratorLib.anatomy.stack import LABELS
from COFGeneratorLib.errors import AnatomyError

ROLES = {
    "lv": (
        "LVEndo", "lvendo", "EndoLV", "saendocardialContour", "LV Endo ED", "1 - LV", "Cavité VG", "VG", "L ventricle",
        "ventricle_L", "Lt Ventricle", "Ventrículo izquierdo", "Ventricolo sinistro", "Ventrículo esquerdo",
        "Linkerventrikel", "Linke Herzkammer", "左心室", "左室", "Левый желудочек", "ventricle, left",
    ),
    "myo": (
        "LVMyo", "LV mass", "LVMass", "LV free wall", "Septum", "Interventricular septum", "L ventricle wall",
        "Myocarde VG", "Miocardio", "Miocárdio", "Herzmuskel", "心肌", "左心室心肌", "心筋", "Миокард",
    ),
    "epi": ("LVEpi", "lvepi", "LVEPI", "EpiLV", "saepicardialContour", "LV Epi ED", "LVEpicardium", "epi"),
    "rv": (
        "RVEndo", "rvendo", "EndoRV", "sarvendocardialContour", "VD", "R ventricle", "ventricle_R", "Rt Ventricle",
        "Ventrículo derecho", "Ventricolo destro", "Ventrículo direito", "Rechterventrikel", "Rechte Herzkammer",
        "右心室", "右室", "Правый желудочек",
    ),
    "scar": ("Scar", "LV infarct", "Oedema"),
    "papillary": ("Papillary muscles", "LV trabeculations"),
    None: ("RVEpi", "rvepi", "sarvepicardialContour", "RV wall", "RV scar", "LA", "Right atrium", "Aorta", "Lung"),
}  # fmt: skip


@pytest.mark.parametrize("role", ROLES)
def test_words_of_many_tools_and_languages(role):
    assert {name: role_of([name]) for name in ROLES[role]} == dict.fromkeys(ROLES[role], role)


@pytest.fixture
def rings():
    """(D, H, W) masks of a cavity, the wall around it, a cavity beside, and a spot in the wall and in the cavity."""
    _, j, i = np.indices((4, 40, 60))
    radius = np.hypot(j - 20, i - 40)
    wall = (radius >= 8) & (radius < 14)
    spots = (wall & (j < 16) & (i > 38), radius < 3)
    return radius < 8, wall, np.hypot(j - 20, i - 14) < 10, *spots


def test_a_wall_that_is_called_lv_is_no_cavity(rings):
    cavity, wall, *_ = rings
    for first, second in ((cavity, wall), (wall, cavity)):
        masks = {"lv": first}
        with pytest.raises(AnatomyError, match="one lies around the other as a wall does"):
            add_segment(masks, "lv", second)


def test_a_ventricle_and_the_cavity_within_it_make_the_wall(rings):
    cavity, wall, *_ = rings
    for first, second in ((cavity, cavity | wall), (cavity | wall, cavity)):
        masks: dict[str, np.ndarray] = {}
        add_segment(masks, "lv", first)
        add_segment(masks, "lv", second)
        labels = merged(masks)
        np.testing.assert_array_equal(labels == LABELS["lv"], cavity)
        np.testing.assert_array_equal(labels == LABELS["myo"], wall)


def test_parts_beside_one_another_are_joined(rings):
    cavity, wall, *_ = rings
    upper = np.arange(4)[:, None, None] < 2
    masks: dict[str, np.ndarray] = {}
    for role, mask in (("lv", cavity & upper), ("lv", cavity & ~upper), ("myo", wall & upper), ("myo", wall & ~upper)):
        add_segment(masks, role, mask)
    labels = merged(masks)
    np.testing.assert_array_equal(labels == LABELS["lv"], cavity)
    np.testing.assert_array_equal(labels == LABELS["myo"], wall)


def test_scar_is_wall_and_papillary_muscles_are_cavity_where_nothing_else_is(rings):
    cavity, wall, right, scar, muscle = rings
    labels = merged(
        {"lv": cavity & ~muscle, "myo": wall & ~scar, "rv": right, "scar": scar | right, "papillary": muscle}
    )
    np.testing.assert_array_equal(labels == LABELS["lv"], cavity)
    np.testing.assert_array_equal(labels == LABELS["myo"], wall)
    np.testing.assert_array_equal(labels == LABELS["rv"], right)
