"""The small phantom cohort of the tests."""

from COFTrainingLib.cohort.synthetic.phantom_files import PhantomOptions
from COFTrainingLib.phantom.prevalence import ENRICHED

SEED = 431_000
OPTIONS = PhantomOptions(ENRICHED, spacing_mm=(14.0, 2.4))
