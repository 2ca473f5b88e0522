"""A few damaged inputs of every family of ``Testing/Benchmarks/fuzz.py``, and those that once broke something.

`COF_FUZZ=750 pytest Testing/test_fuzz.py` reads so many of each.
"""

import os
import warnings
from functools import partial

import pytest
from support.fuzzing import ecgs, folders, images
from support.fuzzing.limits import measured

FAMILIES = {family.name: family for family in (*images.FAMILIES, *ecgs.FAMILIES, *folders.FAMILIES)}
COUNT = int(os.environ.get("COF_FUZZ", "12"))
FINDS = {"cohort": (17, 100_052), "result": (300_103,), "metaimage": (300_025,)}
"""Numbers that broke something, by family; each is kept in words, too, as a test of its room."""

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", FAMILIES)
def test_damaged_inputs_are_read_or_refused_in_words_within_bounds(tmp_path, name):
    family = FAMILIES[name]
    (made := tmp_path / "made").mkdir()
    sources = list(family.make(made))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for source in sources:
            outcome = measured(partial(family.read, source, 1), family.refusal)
            assert outcome.said == "read", (source.name, outcome)
        for number in (*range(COUNT), *FINDS.get(name, ())):
            (inner := tmp_path / f"{number}" / "x").mkdir(parents=True, exist_ok=True)
            path = family.damaged(sources[number % len(sources)], inner, number)
            outcome = measured(partial(family.read, path, number), family.refusal)
            assert not outcome.foreign, (number, outcome)
            assert outcome.more_mb < 500.0, (number, outcome)
