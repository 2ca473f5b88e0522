"""Work over processes and clusters gives what one process gives; planning is quick whatever the cohort's size."""

import os
import sys
import time

import pytest
from COFGeneratorLib.errors import CohortError
from COFGeneratorLib.generator.networks.grid import MotionGrid
from COFGeneratorLib.jobs import workers as work
from COFGeneratorLib.jobs.workers import AHEAD, spread
from COFTrainingLib.cohort.check import check_cohort
from COFTrainingLib.cohort.importers.ukbiobank import import_ukbiobank
from COFTrainingLib.cohort.manifest import read_cohort
from COFTrainingLib.training.examples.cine_example import Recipe
from COFTrainingLib.training.examples.cine_motion import CineMotion
from COFTrainingLib.training.examples.example_store import plan
from support.small_work import killed, refused, squared

SUBJECTS, SECONDS = 10_000, 60.0
"""Planned in about 3 s on an idle machine; the limit leaves room for a busy one."""


@pytest.mark.slow
def test_processes_give_what_one_gives():
    expected = [squared(number) for number in range(9)]
    assert list(spread(squared, range(9))) == expected
    assert sorted(spread(squared, range(9), workers=2)) == expected
    assert list(spread(squared, [], workers=2)) == []


@pytest.mark.slow
def test_items_are_handed_out_as_they_are_needed():
    taken = []

    def items():
        for number in range(50):
            taken.append(number)
            yield number

    class Lazy:
        def __iter__(self):
            return items()

        def __len__(self):
            return 50

    results = spread(squared, Lazy(), workers=2)
    next(results)
    assert len(taken) <= 2 * AHEAD + 2
    results.close()


@pytest.mark.slow
def test_an_error_of_an_item_is_the_caller_s():
    with pytest.raises(CohortError, match="three"):
        list(spread(refused, range(6), workers=2))


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
def test_a_worker_that_is_killed_says_so():
    with pytest.raises(CohortError, match="fewer workers"):
        list(spread(killed, range(4), workers=2))


@pytest.mark.slow
def test_a_dask_cluster_gives_what_one_process_gives():
    pytest.importorskip("distributed", reason="dask.distributed is optional")
    assert sorted(spread(squared, range(9), workers=1, scheduler="local")) == [squared(number) for number in range(9)]


def test_a_running_scheduler_is_used_by_its_address():
    distributed = pytest.importorskip("distributed", reason="dask.distributed is optional")
    with distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster:
        assert sorted(spread(squared, range(5), scheduler=cluster.scheduler_address)) == [0, 1, 4, 9, 16]


def test_a_scheduler_that_is_not_there_is_told(monkeypatch):
    pytest.importorskip("distributed", reason="dask.distributed is optional")
    monkeypatch.setattr(work, "CONNECT_S", 1)
    with pytest.raises(CohortError, match=r"expected at tcp://127\.0\.0\.1:1"):
        list(spread(squared, range(3), scheduler="tcp://127.0.0.1:1"))


def test_without_dask_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    with pytest.raises(CohortError, match="pip install"):
        list(spread(squared, range(3), scheduler="local"))


@pytest.mark.slow
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
