"""The base of the phantom: the ring below the valves, and which of its slices count as ventricle."""

import numpy as np
from COFTrainingLib.phantom.basal_ring import BasalRing
from COFTrainingLib.phantom.physiology import draw_physiology
from COFTrainingLib.phantom.shape import Cylinder
from COFTrainingLib.phantom.stacks import majority_labels
from COFTrainingLib.phantom.subject import draw_subject
from COFTrainingLib.phantom.tissues import Tissue
from COFTrainingLib.phantom.varied_shape import draw_varied_shape
from COFTrainingLib.training.segmenter.segmenter_cache import (
    contour_base,
    contour_trabeculae,
    vary_right_ejection,
    vary_right_ventricle,
)


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


def test_a_right_lumen_is_drawn_whole_where_most_of_it_is_below_the_valve_and_else_not_at_all():
    for share, whole in ((0.6, True), (0.4, False)):
        stack = np.zeros((1, 1, 64, 64), dtype=np.uint8)
        stack[0, 0, 10:50, :40] = Tissue.RV_ORIFICE
        stack[0, 0, 10 : 10 + round(40 * share), :40] = Tissue.RV_BLOOD
        found = contour_base(stack.copy())[0, 0]
        assert (found == (Tissue.RV_BLOOD if whole else Tissue.RV_ORIFICE)).sum() == 1600


def test_an_outflow_tract_stays_beside_an_atrium():
    stack = np.zeros((1, 1, 64, 64), dtype=np.uint8)
    stack[0, 0, 5:25, :20] = Tissue.RV_BLOOD  # the outflow tract
    stack[0, 0, 30:60, :40] = Tissue.RV_ORIFICE  # the atrium behind the tricuspid valve
    stack[0, 0, 58:60, :40] = Tissue.RV_BLOOD
    found = contour_base(stack.copy())[0, 0]
    assert (found[5:25, :20] == Tissue.RV_BLOOD).all()
    assert (found[30:60, :40] == Tissue.RV_ORIFICE).all()


def test_most_right_ventricles_empty_as_the_left_one_does_not_say():
    drawn = [draw_physiology(np.random.default_rng(seed)) for seed in range(300)]
    varied = [vary_right_ejection(np.random.default_rng(seed), one) for seed, one in enumerate(drawn)]
    changed = [(a, b) for a, b in zip(drawn, varied, strict=True) if a != b]
    assert 0.5 < len(changed) / len(drawn) < 0.7
    ef = np.array([b.rv_ef for _, b in changed])
    assert ef.min() < 0.15
    assert ef.max() > 0.65
    assert np.corrcoef(ef, [b.tapse_mm for _, b in changed])[0, 1] > 0.8  # what empties well also descends
    assert all(a.ef == b.ef for a, b in changed)


def test_right_ventricles_are_slim_or_wide_and_their_valve_mostly_lies_below_the_mitral_one():
    rng = np.random.default_rng(5)
    shape = draw_varied_shape(rng, draw_physiology(rng))
    varied = [vary_right_ventricle(rng, shape) for _ in range(300)]
    depth = np.array([one.rv_depth_mm for one in varied]) / shape.rv_depth_mm
    assert depth.min() < 0.65
    assert depth.max() > 1.2
    assert 0.5 < np.mean([one.rv_base_mm < 0 for one in varied]) < 0.7


def test_trabeculae_within_the_blood_are_cavity_and_those_along_the_wall_are_not():
    stack = np.full((1, 1, 64, 64), int(Tissue.RV_WALL), dtype=np.uint8)
    stack[0, 0, disc(20)] = Tissue.RV_TRABECULA
    stack[0, 0, disc(15)] = Tissue.RV_BLOOD
    stack[0, 0, 32, 28:36] = Tissue.RV_TRABECULA  # a strand in the blood
    found = contour_trabeculae(stack.copy(), 1.25)[0, 0]
    assert (found[32, 28:36] == Tissue.RV_TRABECULA).all()
    assert (found[disc(20) & ~disc(15.5)] == Tissue.RV_RIM).mean() > 0.98
    labels = majority_labels(found[None, None])[0]
    assert np.array_equal(labels == 3, (found == Tissue.RV_BLOOD) | (found == Tissue.RV_TRABECULA))
