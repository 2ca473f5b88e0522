"""What is known of every heart is enforced on label maps."""

import numpy as np
from COFGeneratorLib.anatomy.segmenters.clean_labels import clean_labels, level_base

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


def test_fat_that_hangs_on_to_the_right_ventricle_of_the_next_slice_goes():
    labels = a_heart()
    dirty = labels.copy()
    dirty[1, 2:10, 20:26] = 3  # touches nothing in its slice
    dirty[2, 8:10, 20:26] = 3
    assert np.array_equal(clean_labels(dirty, SPACING), labels)


def test_a_part_of_the_outflow_tract_over_the_ventricle_below_stays():
    labels = a_heart()
    labels[0][labels[0] == 3] = 0
    labels[0, 26:38, 8:14] = 3  # away from the septum, above what is ventricle in the next slice
    assert np.array_equal(clean_labels(labels, SPACING), labels)


def test_basal_slices_without_a_wall_are_not_the_ventricles():
    labels = a_heart(depth=7)
    j, i = np.mgrid[:64, :64]
    for k, radius in enumerate((2.5, 4.0, 6.0)):  # the apex is first
        labels[k][labels[k] == 1] = 2
        labels[k][np.hypot(j - 32, i - 36) < radius] = 1
    labels[6][labels[6] == 2] = 0
    labels[5][(labels[5] == 2) & (i < 44)] = 0  # three quarters of the ring
    levelled = level_base(labels)
    assert not levelled[5:].any()
    assert np.array_equal(levelled[:5], labels[:5])
    turned = level_base(labels[::-1])
    assert np.array_equal(turned[::-1], levelled)


def test_a_level_base_is_left_alone():
    labels = a_heart()
    assert np.array_equal(level_base(labels), labels)


def test_a_narrow_basal_lumen_without_a_wall_is_the_outflow_tract():
    labels = a_heart(depth=7)
    j, i = np.mgrid[:64, :64]
    for k, radius in enumerate((2.5, 4.0, 6.0)):  # the apex is first
        labels[k][labels[k] == 1] = 2
        labels[k][np.hypot(j - 32, i - 36) < radius] = 1
    labels[6][labels[6] < 3] = 0
    labels[6][np.hypot(j - 32, i - 36) < 5.0] = 1
    assert np.array_equal(level_base(labels), labels)
