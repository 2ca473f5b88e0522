"""A small phantom cohort, made once."""

import numpy as np
import pytest
from COFTrainingLib.cohort.manifest import Cohort
from COFTrainingLib.cohort.synthetic.phantom_files import PhantomOptions
from COFTrainingLib.cohort.synthetic.synthesis import synthesize
from COFTrainingLib.phantom.prevalence import ENRICHED
from support.small_cohort import OPTIONS, SEED


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory) -> Cohort:
    """Return three phantom subjects with all files of an anchor."""
    return synthesize(tmp_path_factory.mktemp("cohort") / "phantoms", 3, SEED, OPTIONS)


@pytest.fixture(scope="session")
def cine_cohort(tmp_path_factory) -> Cohort:
    """Return one phantom subject with every frame."""
    options = PhantomOptions(ENRICHED, cines=True, frames=8, spacing_mm=(14.0, 2.4))
    return synthesize(tmp_path_factory.mktemp("cines") / "phantoms", 1, SEED, options)


@pytest.fixture
def rng() -> np.random.Generator:
    """Return a seeded source of randomness."""
    return np.random.default_rng(0)
