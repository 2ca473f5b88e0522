"""Labels whose volumes or segments are doubtful are named; those of a whole heart are not."""

import numpy as np
import pytest
from COFGeneratorLib.anatomy.heart_frame import heart_frame_from_labels
from COFGeneratorLib.anatomy.label_doubts import label_doubts

PIXEL_MM, PITCH_MM, WALL_MM = 1.5, 9.0, 9.0
FIRST = 2
"""Empty slices above the base."""


def a_ventricle(depth=13, size=96):
    """Return labels, base first, of a heart whose cavity tapers over eight slices, and the stack's geometry."""
    j, i = np.mgrid[:size, :size]
    r = np.hypot(j - 48, i - 56) * PIXEL_MM
    labels = np.zeros((depth, size, size), np.uint8)
    for n in range(8):
        radius = 25.0 * np.sqrt(1.0 - (n / 8.5) ** 2)
        k = FIRST + n
        labels[k, np.hypot(j - 48, i - 36) * PIXEL_MM < 30.0 * np.sqrt(1.0 - (n / 7.9) ** 2)] = 3
        labels[k, r < radius + WALL_MM] = 2
        labels[k, r < radius] = 1
    geometry = np.diag([PIXEL_MM, PIXEL_MM, -PITCH_MM, 1.0])
    return labels, geometry


def said(labels, geometry):
    return label_doubts(labels, geometry, heart_frame_from_labels(labels, geometry))


def test_a_whole_heart_raises_no_doubt():
    assert said(*a_ventricle()) == ()


@pytest.mark.parametrize("flip", [False, True])
def test_a_base_beyond_the_stack_is_said_with_the_slice_of_the_file(flip):
    labels, geometry = a_ventricle()
    labels = labels[FIRST:]
    if flip:
        labels, geometry = labels[::-1], geometry @ np.diag([1.0, 1.0, -1.0, 1.0])
    (text,) = said(labels, geometry)
    assert "Both ventricles are labelled up to the stack's basal end" in text
    assert f"slice {len(labels) if flip else 1})" in text


def test_an_apex_beyond_the_stack_is_said():
    labels, geometry = a_ventricle()
    (text,) = said(labels[: FIRST + 6], geometry)
    assert "The left ventricle is labelled up to the stack's apical end (slice 8)" in text or "Both" in text


def test_a_basal_slice_of_thin_wall_is_said_with_both_thicknesses():
    labels, geometry = a_ventricle()
    j, i = np.mgrid[:96, :96]
    r = np.hypot(j - 48, i - 56) * PIXEL_MM
    labels[FIRST][(labels[FIRST] == 2) & (r >= 25.0 + 3.0)] = 0
    (text,) = said(labels, geometry)
    assert f"in slice {FIRST + 1}," in text
    assert "3.0 mm against" in text.replace("2.9", "3.0").replace("3.1", "3.0")


def test_a_thin_apex_is_an_apex():
    labels, geometry = a_ventricle()
    j, i = np.mgrid[:96, :96]
    r = np.hypot(j - 48, i - 56) * PIXEL_MM
    for k in (FIRST + 5, FIRST + 6):
        inner = np.sqrt((labels[k] == 1).sum() / np.pi) * PIXEL_MM
        labels[k][(labels[k] == 2) & (r >= inner + 3.0)] = 0
    assert not [text for text in said(labels, geometry) if "thick" in text]
