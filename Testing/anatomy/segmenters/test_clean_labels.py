"""What is known of every heart is enforced on label maps."""

import numpy as np
from COFGeneratorLib.anatomy.segmenters.clean_labels import clean_labels

SPACING = np.array([8.0, 1.5, 1.5])


def a_heart(depth=6, size=64):
    j, i = np.mgrid[:size, :size]
    r = np.hypot(j - 32, i - 36)
    labels = np.zeros((depth, size, size), np.uint8)
    labels[:, np.hypot(j - 32, i - 20) < 12] = 3
    labels[:, r < 14] = 2
    labels[:, r < 9] = 1
    return labels


def test_a_clean_heart_is_left_alone():
    labels = a_heart()
    assert np.array_equal(clean_labels(labels, SPACING), labels)


def test_islands_go_and_holes_in_the_cavity_are_filled():
    labels = a_heart()
    dirty = labels.copy()
    dirty[2, 2:6, 50:56] = 1
    dirty[3, 50:60, 2:8] = 3
    dirty[4, 55:60, 55:60] = 2
    dirty[1, 31:33, 34:37] = 0
    assert np.array_equal(clean_labels(dirty, SPACING), labels)


def test_nothing_is_left_where_there_is_no_cavity():
    labels = a_heart()
    labels[labels == 1] = 0
    assert not clean_labels(labels, SPACING).any()
