"""Phantoms' images for Stage 2: the planned slices on the teacher's plane, and how well motion agrees with images."""

import numpy as np
import pytest
import torch
from COFGeneratorLib.anatomy.heart_frame import heart_frame_from_labels
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.registration.teacher_network import TeacherConfig
from COFTrainingLib.phantom.subject import draw_subject, plan_stack
from COFTrainingLib.training.examples.cine_motion import MotionField
from COFTrainingLib.training.examples.phantom_cine import PhantomMotion, rendered, view_plan
from COFTrainingLib.training.examples.seen import confidence_on

PLANE = TeacherConfig(plane=(32, 32), pixel_mm=5.4, filters=(4, 8))


@pytest.fixture(scope="module")
def planned():
    subject = draw_subject(5)
    plan = plan_stack(subject, np.random.default_rng(0), spacing_mm=(12.0, 2.0), fov_mm=180.0)
    labels = subject.heart.label_at(plan.heart_points())
    return subject, plan, heart_frame_from_labels(labels, plan.ijk_to_ras)


def test_the_view_shows_the_planned_slices_of_the_same_heart(planned):
    subject, plan, frame = planned
    view = view_plan(plan, frame, PLANE)
    assert view.shape == (plan.shape[0], 32, 32)
    seen, all_of_it = (subject.heart.label_at(one.heart_points()) for one in (view, plan))
    areas = [
        (labels == 1).sum(axis=(1, 2)) * np.linalg.norm(one.ijk_to_ras[:3, 0]) ** 2
        for labels, one in ((seen, view), (all_of_it, plan))
    ]
    apex_first = float(frame.axes_ras[0] @ plan.ijk_to_ras[:3, 2]) < 0
    wanted = areas[1][::-1] if apex_first else areas[1]
    assert np.abs(areas[0] - wanted).max() < 0.12 * wanted.max()


def test_a_beat_is_one_scan_whose_heart_contracts(planned):
    subject, plan, frame = planned
    view = view_plan(plan, frame, PLANE)
    images = rendered(subject, view, np.array([0.0, subject.physiology.t_es_ms]))
    assert images.dtype == np.float32
    still = subject.heart.label_at(view.heart_points())
    rim = np.zeros(still.shape[1:], dtype=bool)
    rim[:2], rim[-2:] = True, True
    noise = np.abs(images[1] - images[0])
    assert noise[still == 1].mean() > 1.5 * noise[:, rim].mean()  # the cavity changes, the surroundings stay


def test_agreement_is_read_where_it_is_asked_for(planned):
    frame = planned[2]
    ramp = torch.linspace(0.0, 1.0, 9).expand(2, 4, 5, 9).clone()
    to_ras = np.eye(4)
    to_ras[:3, :3], to_ras[:3, 3] = frame.axes_ras.T * 10.0, frame.origin_ras
    field = MotionField(torch.zeros(2, 3, 4, 5, 9), to_ras, ramp)
    nodes = np.stack(np.meshgrid([10.0], [20.0], [0.0, 40.0, 80.0], indexing="ij"), axis=-1)  # heart (k, j, i), mm
    assert torch.allclose(confidence_on(field, frame, nodes)[:, 0, 0], torch.tensor([0.0, 0.5, 1.0]).expand(2, 3))
    assert np.allclose(field.confidence, 0.5)
    known = MotionField(torch.zeros(2, 3, 4, 5, 9), to_ras)
    assert known.agreement_at(np.zeros((1, 3))) is None
    assert np.array_equal(known.confidence, np.ones(2))
    with pytest.raises(TrainingError, match="known"):
        confidence_on(known, frame, nodes)


def test_ways_to_find_the_motion_of_phantoms_are_checked():
    with pytest.raises(TrainingError, match="exact or teacher"):
        PhantomMotion(motion="demons")
