"""Planning the examples of a large cohort is quick: nothing is read but names."""

import time

from COFGeneratorLib.generator.networks.grid import MotionGrid
from COFTrainingLib.cohort.check import check_cohort
from COFTrainingLib.cohort.importers.ukbiobank import import_ukbiobank
from COFTrainingLib.cohort.manifest import read_cohort
from COFTrainingLib.training.examples.cine_example import Recipe
from COFTrainingLib.training.examples.cine_motion import CineMotion
from COFTrainingLib.training.examples.example_store import plan

SUBJECTS, SECONDS = 10_000, 60.0
"""Planned in about 3 s on an idle machine; the limit leaves room for a busy one."""


def test_ten_thousand_subjects_are_planned_in_seconds(tmp_path):
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    for number in range(SUBJECTS):
        for name in (f"{2_000_000 + number}_20209_2_0.zip", f"{2_000_000 + number}_20205_2_0.xml"):
            (downloads / name).touch()
    start = time.perf_counter()
    import_ukbiobank(downloads, tmp_path / "ukb")
    cohort = read_cohort(tmp_path / "ukb")
    report = check_cohort(cohort, read=False)
    made, jobs = plan(tmp_path / "store", cohort, Recipe(MotionGrid(), CineMotion(source="demons")), lambda _: 1)
    seconds = time.perf_counter() - start
    assert report.ok
    assert (len(made), len(jobs)) == (0, SUBJECTS)
    assert seconds < SECONDS
