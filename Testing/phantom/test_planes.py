"""Phantom planes: what they show, and that they beat as the physiology says."""

import numpy as np
import pytest
from COFGeneratorLib.ecgflowcmr.model import PlaneGrid
from COFTrainingLib.phantom.planes import render_plane
from COFTrainingLib.phantom.subject import draw_subject

SAX = PlaneGrid("sax", 12, 48, 3.0)
LONG = PlaneGrid("four-chamber", 4, 64, 2.8)


def test_the_short_axis_shows_a_ring_with_the_right_ventricle_to_its_left():
    cine, labels = render_plane(draw_subject(1), SAX, body=1)
    assert cine.shape == labels.shape == (12, 48, 48)
    lv, rv = (np.argwhere(labels[0] == code).mean(axis=0) for code in (1, 3))
    assert rv[1] < lv[1] - 5
    wall = cine[0][labels[0] == 2].mean()
    assert cine[0][labels[0] == 1].mean() > wall + 40


def test_a_weaker_heart_changes_its_area_less_and_systole_ends_when_it_should():
    changes = []
    for ef in (0.3, 0.65):
        subject = draw_subject(7, ef=ef, hr_bpm=60.0, conduction="", infarct_extent=0.0)
        _, labels = render_plane(subject, SAX, body=1)
        area = (labels == 1).sum(axis=(1, 2))
        changes.append(1 - area.min() / area.max())
        at_ms = area.argmin() * subject.physiology.rr_ms / 12
        early = subject.physiology.t_es_ms
        assert early - 90 < at_ms < early + subject.physiology.ivr_ms + 90
    assert changes[0] < changes[1] - 0.15


def test_four_chambers_show_both_atria_below_the_base_and_no_label_there():
    subject = draw_subject(1)
    cine, labels = render_plane(subject, LONG, body=1)
    lv = np.argwhere(labels[0] == 1)
    apex, base = lv[:, 0].min(), lv[:, 0].max()
    assert base - apex > 20
    below = cine[0, base + 4 : base + 11]
    blood = cine[0][labels[0] == 1].mean()
    assert (below > 0.75 * blood).sum() > 60
    assert not labels[0, base + 6 :].any()
    descended = np.argwhere(labels[2] == 1)[:, 0].max()  # apex stays, base moves towards it
    assert descended < base


def test_a_plane_that_is_not_known_is_refused():
    from COFGeneratorLib.errors import CohortError

    with pytest.raises(CohortError, match="four-chamber"):
        render_plane(draw_subject(1), PlaneGrid("two-chamber", 4, 32, 4.0))
