"""The base of the phantom: the ring below the valves, and which of its slices count as ventricle."""

import numpy as np
from COFTrainingLib.phantom.basal_ring import BasalRing
from COFTrainingLib.phantom.shape import Cylinder
from COFTrainingLib.phantom.subject import draw_subject
from COFTrainingLib.phantom.tissues import Tissue
from COFTrainingLib.training.segmenter.segmenter_cache import contour_base


def test_the_ring_surrounds_the_lumen_above_the_base_and_nothing_below_it():
    shape = draw_subject(3).heart.shape
    ring = BasalRing(np.random.default_rng(0), shape)
    r = np.tile(np.linspace(0.0, 60.0, 241), 2)
    up = np.repeat([0.5 * ring.height_mm, -5.0], 241)
    theta = np.full(r.shape, 0.7)
    slope = np.sin(0.7) * shape.base_tilt[0] + np.cos(0.7) * shape.base_tilt[1]
    tissue = np.full(r.shape, Tissue.EPICARDIAL_FAT, dtype=np.uint8)
    ring.paint(tissue, Cylinder(r, theta, r * slope - up))
    above, below = tissue[:241], tissue[241:]
    assert (below == Tissue.EPICARDIAL_FAT).all()
    assert above[0] == Tissue.LV_ORIFICE
    wall = np.diff(np.flatnonzero(above == Tissue.MYOCARDIUM)[[0, -1]])[0] * 0.25
    assert abs(wall - 0.75 * ring.thickness_mm) < 0.6  # half of the way up it has lost a quarter
    assert (above[np.flatnonzero(above == Tissue.MYOCARDIUM)[-1] + 1 :] == Tissue.EPICARDIAL_FAT).all()


def disc(radius):
    j, i = np.mgrid[:64, :64] - 32
    return np.hypot(j, i) < radius


def test_a_walled_basal_lumen_counts_whole_and_one_without_a_wall_not_at_all():
    stack = np.zeros((3, 1, 64, 64), dtype=np.uint8)
    stack[1:, 0, disc(16)] = Tissue.MYOCARDIUM
    stack[:, 0, disc(10)] = Tissue.LV_BLOOD
    stack[0, 0, disc(10)] = Tissue.LV_ORIFICE
    half = disc(10) & (np.arange(64)[:, None] < 32)
    stack[1, 0, half] = Tissue.LV_ORIFICE
    found = contour_base(stack.copy())
    assert (found[1, 0][disc(10)] == Tissue.LV_BLOOD).all()
    assert (found[0, 0][disc(10)] == Tissue.LV_ORIFICE).all()


def test_a_right_ventricle_cut_by_its_base_is_drawn_whole_where_enough_of_it_is_below():
    for share, whole in ((0.5, True), (0.1, False)):
        stack = np.zeros((1, 1, 64, 64), dtype=np.uint8)
        stack[0, 0, 10:50, :40] = Tissue.RV_ORIFICE
        stack[0, 0, 10 : 10 + round(40 * share), :40] = Tissue.RV_BLOOD
        found = contour_base(stack.copy())[0, 0]
        assert (found == Tissue.RV_ORIFICE).any() != whole
        assert (found == Tissue.RV_BLOOD).sum() == (1600 if whole else 160)
