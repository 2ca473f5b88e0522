"""An ECG whose rate is known."""

import numpy as np
import pytest
from COFTrainingLib.phantom.electrocardiogram import synthesise_ecg
from COFTrainingLib.phantom.physiology import draw_physiology


@pytest.fixture(scope="session")
def record():
    """Return a regular phantom ECG at 65/min."""
    physiology = draw_physiology(np.random.default_rng(5), hr_bpm=65.0, atrial_fibrillation=False)
    return synthesise_ecg(physiology, np.random.default_rng(6), premature=0.0)[0]
