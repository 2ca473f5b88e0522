"""Jobs as real child processes: success, failure, cancellation, re-attachment."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from COFGeneratorLib.errors import JobError
from COFGeneratorLib.files import write_json
from COFGeneratorLib.jobs import JobRunner, JobState, find_jobs, process, run_to_end

GOOD = """
with job_events(events_file) as events:
    for step in range(3):
        events.progress("sampling", step + 1, 3)
    (result / "cine.txt").write_text("beats")
"""

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


def wait_for(condition, timeout_s=10.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def test_a_job_that_says_done_and_made_its_result_has_succeeded(start):
    runner = start(GOOD, expect=["cine.txt"], title="Cine", kind="generate")
    events = []
    state = runner.wait(20, lambda update: events.extend(update.events))
    assert state is JobState.SUCCEEDED
    assert [event["event"] for event in events] == ["progress", "progress", "done"] or len(events) == 4
    assert events[0]["stage"] == "sampling"
    assert events[-2]["done"] == 3
    assert runner.folder.read(runner.folder.status)["state"] == "succeeded"
    assert runner.folder.read(runner.folder.job)["title"] == "Cine"


def test_a_result_that_is_missing_is_a_failure_whatever_the_job_says(start):
    runner = start("with job_events(events_file): pass", expect=["cine.txt"])
    assert runner.wait(20) is JobState.FAILED
    assert "cine.txt" in runner.reason


def test_an_exit_without_done_is_a_failure(start):
    runner = start("print('nothing to say')")
    assert runner.wait(20) is JobState.FAILED
    assert "nothing to say" in runner.reason


def test_done_with_a_bad_exit_code_is_a_failure(start):
    runner = start("with job_events(events_file): pass\nsys.exit(4)")
    assert runner.wait(20) is JobState.FAILED
    assert "exit code 4" in runner.reason


def test_a_user_error_is_shown_in_its_own_words(start):
    runner = start(
        """
        from COFGeneratorLib.errors import EcgError
        with job_events(events_file):
            raise EcgError("An ECG record needs 12 leads; found 11. Export all twelve.")
        """
    )
    assert runner.wait(20) is JobState.FAILED
    assert runner.reason == "An ECG record needs 12 leads; found 11. Export all twelve."


def test_running_out_of_memory_says_what_to_change(start):
    runner = start("with job_events(events_file):\n    raise MemoryError('CUDA out of memory')")
    runner.wait(20)
    assert "Choose the CPU" in runner.reason


@posix
def test_being_killed_by_the_system_is_explained(start):
    runner = start("os.kill(os.getpid(), signal.SIGKILL)")
    assert runner.wait(20) is JobState.FAILED
    assert "lack of memory" in runner.reason


def test_a_job_that_listens_stops_by_itself(start):
    runner = start(
        """
        with job_events(events_file) as events:
            for step in range(2000):
                events.progress("sampling", step, 2000)
                time.sleep(0.01)
        """
    )
    wait_for(lambda: runner.poll().state is JobState.RUNNING)
    runner.cancel(grace_s=30.0)
    assert runner.wait(10) is JobState.CANCELLED
    assert runner.returncode != -9


@posix
def test_a_job_that_does_not_listen_is_killed_with_its_whole_tree(start):
    runner = start(
        """
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
        grandchild = subprocess.Popen([sys.executable, "-c", deaf])
        (result / "pids").write_text(f"{os.getpid()} {grandchild.pid}")
        print("ready", flush=True)
        time.sleep(600)
        """
    )
    wait_for(lambda: (runner.folder.result / "pids").is_file() and "ready" in runner.folder.log.read_text())
    pids = [int(pid) for pid in (runner.folder.result / "pids").read_text().split()]
    assert all(process.start_time(pid) for pid in pids)
    runner.cancel(grace_s=0.2)
    assert runner.wait(10) is JobState.CANCELLED
    wait_for(lambda: not any(process.start_time(pid) for pid in pids))


@posix
def test_children_that_a_job_leaves_behind_are_ended(start):
    runner = start(
        """
        orphan = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (result / "pid").write_text(str(orphan.pid))
        """
    )
    runner.wait(20)
    orphan = int((runner.folder.result / "pid").read_text())
    wait_for(lambda: process.start_time(orphan) is None)


def test_kill_ends_a_job_at_once(start):
    runner = start("time.sleep(600)")
    begin = time.monotonic()
    runner.kill()
    assert runner.state is JobState.CANCELLED
    assert time.monotonic() - begin < 5.0


@pytest.mark.slow
@posix
def test_a_job_goes_on_when_its_starter_exits_and_can_be_found_again(tmp_path):
    """The starter is a process of its own that exits at once, as Slicer does when it is closed."""
    library = Path(__file__).resolve().parents[2] / "COFGenerator"
    folder = tmp_path / "jobs" / "one"
    code = f"""
import os, sys
sys.path.insert(0, {str(library)!r})
os.environ["PYTHONPATH"] = {str(library)!r}
from COFGeneratorLib.files import write_json
from COFGeneratorLib.jobs import JobRunner
runner = JobRunner({str(folder)!r})
child = '''
import time
from COFGeneratorLib.files import write_json
from COFGeneratorLib.jobs.events import job_events
with job_events({str(folder / "events.jsonl")!r}) as events:
    for step in range(40):
        events.progress("training", step + 1, 40)
        time.sleep(0.05)
'''
runner.start([sys.executable, "-c", child], kind="train")
"""
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", code]) == 0
    assert find_jobs(tmp_path / "jobs", "train") == [folder]
    assert find_jobs(tmp_path / "jobs", "generate") == []
    runner = JobRunner.attach(folder)
    assert not runner.state.ended
    events = []
    assert runner.wait(20, lambda update: events.extend(update.events)) is JobState.SUCCEEDED
    assert events[0]["done"] == 1  # told again from the first
    assert JobRunner.attach(folder).state is JobState.SUCCEEDED


@posix
def test_an_attached_job_can_be_cancelled(start):
    first = start("time.sleep(600)")
    second = JobRunner.attach(first.folder.root)
    second.cancel(grace_s=0.1)
    wait_for(lambda: second.poll() and first.poll().state is JobState.CANCELLED)
    assert second.wait(5) is JobState.CANCELLED


@posix
def test_a_job_that_vanished_unseen_is_lost(start):
    first = start("time.sleep(600)")
    second = JobRunner.attach(first.folder.root)
    os.kill(first.pid, signal.SIGKILL)
    first._process.wait()
    assert second.wait(5) is JobState.LOST
    assert "resume" in second.reason


def test_a_process_that_got_the_same_id_is_not_mistaken_for_the_job_and_not_killed(start, tmp_path):
    first = start("time.sleep(600)")
    status = first.folder.read(first.folder.status)
    status["process_started"] = "1"
    other = tmp_path / "old"
    other.mkdir()
    for name in ("job.json", "events.jsonl", "log.txt"):
        (other / name).write_bytes((first.folder.root / name).read_bytes())
    write_json(other / "status.json", status)
    old = JobRunner.attach(other)
    old.kill()
    assert old.state in (JobState.CANCELLED, JobState.LOST)
    assert process.start_time(first.pid) is not None


def test_output_in_any_encoding_and_progress_bars_become_readable_text(start):
    runner = start(
        r"""
        sys.stdout.buffer.write(b"gr\xfc\xdfe \xe2\x9c\x93\n" + b" 10%\r 50%\r100%\n")
        """
    )
    log = []
    runner.wait(20, lambda update: log.append(update.log))
    lines = "".join(log).splitlines()
    assert lines[0].endswith("✓")
    assert lines[1] == "100%"


def test_a_line_that_is_not_an_event_does_no_harm(start):
    runner = start(
        """
        with open(events_file, "a") as stream:
            stream.write("{half\\n[1]\\n")
        with job_events(events_file): pass
        """
    )
    events = []
    assert runner.wait(20, lambda update: events.extend(update.events)) is JobState.SUCCEEDED
    assert [event["event"] for event in events] == ["malformed", "malformed", "done"]


def test_a_folder_that_holds_a_job_is_not_used_twice(start, tmp_path):
    start("pass").wait(20)
    with pytest.raises(JobError, match="another job"):
        JobRunner(tmp_path / "job").start([sys.executable, "-c", "pass"])


def test_a_program_that_does_not_exist_is_said_and_kept_on_disk(tmp_path):
    runner = JobRunner(tmp_path / "job")
    with pytest.raises(JobError, match="cannot be started"):
        runner.start([str(tmp_path / "no-python")])
    assert JobRunner.attach(tmp_path / "job").state is JobState.FAILED


def test_attaching_to_a_folder_without_a_job_is_refused(tmp_path):
    with pytest.raises(JobError, match=r"job\.json"):
        JobRunner.attach(tmp_path)


def test_run_to_end_raises_with_reason_and_log(start):
    runner = start("print('details'); sys.exit(3)")
    pumped = []
    with pytest.raises(JobError, match="exit code 3"):
        run_to_end(runner, pump=lambda: pumped.append(1))
    assert pumped


def test_run_to_end_ends_the_job_when_it_is_interrupted(start):
    runner = start("time.sleep(600)")

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_to_end(runner, pump=interrupt)
    assert runner.state is JobState.CANCELLED


def test_the_environment_of_the_caller_is_not_changed(start):
    before = dict(os.environ)
    start("pass").wait(20)
    assert dict(os.environ) == before
