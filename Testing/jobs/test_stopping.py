"""Stop means stop: signals end a command within seconds, with its workers, and it says what stands."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from COFGeneratorLib.jobs import process
from COFGeneratorLib.jobs.events import read_events
from COFGeneratorLib.jobs.safely import run_safely
from COFGeneratorLib.jobs.stopping import signals_interrupt
from support import waiting_command

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="POSIX signals, states in /proc")]


@pytest.fixture
def working(tmp_path):
    """Return a function that starts a command with workers, and waits until it has a result and is busy with more."""
    started = []

    def begin(kind="many", **options) -> subprocess.Popen:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        argv = [sys.executable, waiting_command.__file__, kind, str(tmp_path)]
        started.append(
            subprocess.Popen(
                argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
                start_new_session=True, **options,
            )
        )  # fmt: skip
        until(lambda: (tmp_path / "ready").exists() and list((tmp_path / "marks").glob("[1-9]*")), 60.0)
        return started[-1]

    yield begin
    for one in started:
        one.kill()
        one.wait()


def until(true, within_s):
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def workers(folder: Path) -> set[int]:
    return {int(path.name.partition("-")[2]) for path in (folder / "marks").glob("[0-9]*")}


def begun(folder: Path) -> set[str]:
    """Return the items that were at work when the command was stopped; the first was done before."""
    return {path.name.partition("-")[0] for path in (folder / "marks").glob("[1-9]*")}


def cleaned(folder: Path) -> set[str]:
    return {path.name.partition("-")[2] for path in (folder / "marks").glob("cleaned-*")}


@pytest.mark.parametrize("everybody", [False, True], ids=["parent", "terminal"])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_ends_command_and_workers_and_says_what_stands(working, tmp_path, name, everybody):
    command = working()
    number, start = getattr(signal, name), time.monotonic()
    (os.killpg if everybody else os.kill)(command.pid, number)
    said = command.communicate(timeout=30)[1]
    assert time.monotonic() - start < 20.0  # seconds on a machine at work
    assert command.returncode == 130
    assert said == "cof: Stopped on request. 1 results stand.\n"
    assert (tmp_path / "table.csv").read_text() == "1\n"
    assert [event["event"] for event in read_events(tmp_path / "events.jsonl")] == ["cancelled"]
    until(lambda: not any(map(process.start_time, workers(tmp_path))), 10.0)
    assert len(workers(tmp_path)) <= 2
    assert begun(tmp_path) <= cleaned(tmp_path)  # one that was just beginning may have left no mark


def test_a_command_of_one_process_stops_as_well(working):
    command = working("one")
    command.terminate()
    assert command.communicate(timeout=30)[1] == "cof: Stopped on request. 1 results stand.\n"
    assert command.returncode == 130


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_second_interrupt_does_not_cut_the_cleaning_short(working, tmp_path, name):
    command = working()
    for _ in range(4):
        os.killpg(command.pid, getattr(signal, name))
        time.sleep(0.1)
    assert command.communicate(timeout=30)[1] == "cof: Stopped on request. 1 results stand.\n"
    until(lambda: not any(map(process.start_time, workers(tmp_path))), 10.0)
    assert begun(tmp_path) <= cleaned(tmp_path)


def test_what_nohup_ignores_stays_ignored(working):
    command = working(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    command.send_signal(signal.SIGHUP)
    time.sleep(0.5)
    assert command.poll() is None
    command.terminate()
    command.communicate(timeout=30)
    assert command.returncode == 130


def test_no_worker_outlives_a_parent_that_is_killed(working, tmp_path):
    command = working()
    command.kill()
    command.wait()
    until(lambda: not any(map(process.start_time, workers(tmp_path))), 10.0)


def test_handlers_of_the_caller_come_back():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with signals_interrupt():
        assert signal.getsignal(signal.SIGTERM) not in before
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_a_log_of_a_failure_is_its_owner_s_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert run_safely(lambda: 1 // 0) == 1
    (log,) = tmp_path.iterdir()
    assert log.stat().st_mode & 0o777 == 0o600
    assert "ZeroDivisionError" in log.read_text()
    assert str(log) in capsys.readouterr().err


def test_a_log_that_cannot_be_written_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    assert run_safely(lambda: 1 // 0) == 1
    assert "cannot be written" in capsys.readouterr().err
