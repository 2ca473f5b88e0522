"""Labels that lack a structure get it from the segmenter; what is labelled stays."""

from types import SimpleNamespace

import numpy as np
import pytest
from COFGeneratorLib.anatomy.segmenters.completion import complete_by, completed, lacking
from COFGeneratorLib.errors import AnatomyError


class Seer:
    """A segmenter that sees a given map."""

    def __init__(self, seen):
        self.seen, self.asked = seen, 0

    def segment(self, stack, roi=None):
        self.asked += 1
        if isinstance(self.seen, Exception):
            raise self.seen
        return SimpleNamespace(labels=self.seen)


@pytest.fixture
def heart():
    """Return five slices of a heart: an RV in all of them, an apex's cap without a cavity in the last."""
    j, i = np.mgrid[:60, :60]
    radius = np.hypot(j - 30, i - 35)
    labels = np.zeros((5, 60, 60), np.uint8)
    labels[:, (np.hypot(j - 30, i - 15) < 14) & (radius >= 14)] = 3
    labels[:, radius < 14] = 2
    labels[:4, radius < 9] = 1
    return labels


def test_complete_labels_are_left_alone_and_nobody_is_asked(heart):
    seer = Seer(heart)
    labels, said = complete_by(seer, None, heart, None)
    assert labels is heart
    assert said == ()
    assert seer.asked == 0


def test_a_cavity_alone_gets_wall_cap_and_right_ventricle(heart):
    given = np.where(heart == 1, heart, 0)
    labels, said = complete_by(Seer(heart), None, given, None)
    assert np.array_equal(labels, heart)
    assert "no myocardium and no right ventricle" in said[0]


def test_what_is_given_stays_and_the_wall_reaches_from_it_to_the_epicardium_seen(heart):
    j, i = np.mgrid[:60, :60]
    given = np.zeros_like(heart)
    given[:4, np.hypot(j - 30, i - 36) < 7] = 1
    labels = completed(given, heart)
    assert np.array_equal(labels == 1, given == 1)
    assert np.array_equal((labels == 1) | (labels == 2), (heart == 1) | (heart == 2))


def test_slices_without_a_cavity_given_get_no_wall_in_its_place(heart):
    given = np.where(heart == 1, heart, 0)
    given[0] = 0  # the user stops a slice below the segmenter
    labels = completed(given, heart)
    assert not np.isin(labels[0], (1, 2)).any()
    assert (labels[0] == 3).any()  # one slice beyond, as valves are not level
    given[1] = 0
    assert not completed(given, heart)[0].any()


def test_a_cap_far_below_the_last_slice_labelled_is_not_added(heart):
    given = np.where(heart == 1, heart, 0)
    given[2:] = 0
    labels = completed(given, heart)
    assert not np.isin(labels[2:], (1, 2)).any()


def test_only_the_right_ventricle_is_added_to_a_labelled_left_one(heart):
    given = np.where(heart == 3, 0, heart)
    assert lacking(given) == ("rv",)
    assert np.array_equal(completed(given, heart), heart)


def test_another_heart_is_not_mixed_in(heart):
    given = np.roll(np.where(heart == 1, heart, 0), 20, axis=1)
    labels, said = complete_by(Seer(heart), None, given, None)
    assert labels is given
    assert "elsewhere" in said[0]


def test_a_segmenter_that_sees_no_heart_is_told_and_none_at_all_is_not(heart):
    given = np.where(heart == 3, 0, heart)
    labels, said = complete_by(Seer(AnatomyError("No heart is in view.")), None, given, None)
    assert labels is given
    assert "No heart is in view." in said[0]
    assert complete_by(None, None, given, None) == (given, ())
