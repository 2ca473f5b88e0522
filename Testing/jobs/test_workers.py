"""Work over processes and clusters gives what one process gives; nothing of it outlives who asked for it."""

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from COFGeneratorLib.errors import CohortError, JobError
from COFGeneratorLib.jobs import dask_cluster
from COFGeneratorLib.jobs.dask_cluster import AHEAD
from COFGeneratorLib.jobs.workers import spread
from support.small_work import deadly_at_two, killed, refused, remember, remembered, slow, squared

pytestmark = pytest.mark.slow


def test_processes_give_what_one_gives():
    expected = [squared(number) for number in range(9)]
    assert list(spread(squared, range(9))) == expected
    assert sorted(spread(squared, range(9), workers=2)) == expected
    assert list(spread(squared, [], workers=2)) == []


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


def test_an_error_of_an_item_is_the_caller_s():
    with pytest.raises(CohortError, match="three"):
        list(spread(refused, range(6), workers=2))


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
def test_a_worker_that_is_killed_says_so():
    with pytest.raises(JobError, match="fewer workers"):
        list(spread(killed, range(4), workers=2))


def test_a_dask_cluster_gives_what_one_process_gives():
    pytest.importorskip("distributed", reason="dask.distributed is optional")
    assert sorted(spread(squared, range(9), workers=1, scheduler="local")) == [squared(number) for number in range(9)]


def test_a_running_scheduler_is_used_by_its_address():
    distributed = pytest.importorskip("distributed", reason="dask.distributed is optional")
    with distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster:
        assert sorted(spread(squared, range(5), scheduler=cluster.scheduler_address)) == [0, 1, 4, 9, 16]


def test_a_scheduler_that_is_not_there_is_told(monkeypatch):
    pytest.importorskip("distributed", reason="dask.distributed is optional")
    monkeypatch.setattr(dask_cluster, "CONNECT_S", 1)
    with pytest.raises(JobError, match=r"expected at tcp://127\.0\.0\.1:1"):
        list(spread(squared, range(3), scheduler="tcp://127.0.0.1:1"))


def test_without_dask_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    with pytest.raises(JobError, match="pip install"):
        list(spread(squared, range(3), scheduler="local"))


def test_results_come_in_order_where_that_is_asked():
    assert list(spread(squared, range(9), workers=2, ordered=True)) == [squared(number) for number in range(9)]


def test_every_process_is_prepared_once(tmp_path):
    assert list(spread(remembered, range(4), prepare=partial(remember, 7))) == [7, 7, 7, 7]
    assert list(spread(remembered, range(4), workers=2, prepare=partial(remember, 9))) == [9, 9, 9, 9]


def test_what_preparing_raises_is_the_caller_s():
    for count in (1, 2):
        with pytest.raises(CohortError, match="three"):
            list(spread(squared, range(4), workers=count, prepare=partial(refused, 3)))


def test_a_death_costs_its_own_item_where_the_caller_says_what_stands_for_it():
    results = spread(deadly_at_two, range(5), workers=2, lost=lambda number, why: -number, ordered=True)
    assert list(results) == [0, 1, -2, 3, 4]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def until(true, within_s: float = 60.0) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.02)
    return False


def gone(pids) -> bool:
    return until(lambda: not any(alive(pid) for pid in pids), within_s=10.0)


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads the states of processes from /proc")


@linux
def test_work_that_is_left_is_cancelled_and_its_processes_end(tmp_path, capfd):
    results = spread(partial(slow, str(tmp_path)), range(50), workers=2)
    assert next(results) == 0
    until(lambda: list(tmp_path.glob("[1-9]*")))
    start = time.monotonic()
    results.close()
    assert time.monotonic() - start < 30.0  # an item takes 60 s
    begun = list(tmp_path.glob("[0-9]*"))
    assert len(begun) <= 2 * AHEAD + 1
    assert gone({int(path.name.partition("-")[2]) for path in begun})
    assert list(tmp_path.glob("cleaned-*"))  # what was begun took away what it had half made
    assert "Traceback" not in capfd.readouterr().err


PARENT = """
import sys
from functools import partial
from support.small_work import slow
from COFGeneratorLib.jobs.workers import spread

if __name__ == "__main__":
    list(spread(partial(slow, sys.argv[1]), range(1, 9), workers=2))
"""


@linux
def test_processes_end_with_a_parent_that_is_killed(tmp_path):
    (tmp_path / "parent.py").write_text(PARENT)
    (marks := tmp_path / "marks").mkdir()
    paths = os.pathsep.join(sys.path)
    argv = [sys.executable, str(tmp_path / "parent.py"), str(marks)]
    parent = subprocess.Popen(argv, env={**os.environ, "PYTHONPATH": paths})
    try:
        until(lambda: len(list(marks.iterdir())) == 2)
        children = {int(path.name.partition("-")[2]) for path in marks.iterdir()}
        assert len(children) == 2
    finally:
        parent.kill()
        parent.wait()
    assert gone(children)
    assert len(list(marks.glob("cleaned-*"))) == 2


IDLE = """
import sys, time
from functools import partial
from support.small_work import be_patient, left_idle
from COFGeneratorLib.jobs.workers import spread

if __name__ == "__main__":
    results = spread(partial(left_idle, sys.argv[1]), range(2), workers=2, prepare=be_patient)
    print(next(results), next(results), flush=True)
    time.sleep(600)
"""


@linux
def test_processes_with_nothing_at_work_end_at_once_with_their_parent(tmp_path):
    (tmp_path / "parent.py").write_text(IDLE)
    (marks := tmp_path / "marks").mkdir()
    argv = [sys.executable, str(tmp_path / "parent.py"), str(marks)]
    parent = subprocess.Popen(argv, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, stdout=subprocess.PIPE)
    try:
        parent.stdout.readline()
        children = {int(path.name.partition("-")[2]) for path in marks.iterdir()}
        assert children
    finally:
        parent.kill()
        parent.communicate()
    assert gone(children)
