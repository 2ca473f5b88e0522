"""Job folders that anybody may have made: nothing in them is believed, nobody is signalled, nothing hangs or grows."""

import json
import os
import signal
import stat
import subprocess
import sys
import time

import pytest
from COFGeneratorLib.errors import JobError
from COFGeneratorLib.jobs import JobRunner, JobState, find_jobs, process
from COFGeneratorLib.jobs.tail import MAX_CHUNK_BYTES, EventTail

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals and modes")
linux = pytest.mark.skipif(sys.platform != "linux", reason="marks are read from /proc")

JOB = {"kind": "train", "title": "T", "argv": ["cof"], "expect": ["a.txt"], "created": 1.0, "token": "t"}
STATUS = {"state": "running", "reason": "", "returncode": None, "pid": 0, "process_started": "1", "updated": 1.0}


@pytest.fixture
def folder(tmp_path):
    """Return a function that makes a job folder of given fields; None leaves one out."""

    def make(job=None, status=None):
        root = tmp_path / "jobs" / "foreign"
        root.mkdir(parents=True)
        for name, fields, changes in (("job.json", JOB, job), ("status.json", STATUS, status)):
            content = {key: value for key, value in {**fields, **(changes or {})}.items() if value is not ...}
            (root / name).write_text(json.dumps(content))
        return root

    return make


@pytest.fixture
def signalled(monkeypatch):
    """Return the list of signals that would have been sent to anybody."""
    sent = []
    monkeypatch.setattr(process, "_signal", lambda entry, number: sent.append((entry.pid, number)))
    for name in ("kill", "killpg"):
        if hasattr(os, name):
            monkeypatch.setattr(os, name, lambda pid, number: sent.append((pid, number)))
    return sent


def bystander() -> subprocess.Popen:
    """Return a process that has nothing to do with any job, at the head of a session like one."""
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)


IDS = {"none": ..., "0": 0, "init": 1, "own": os.getpid(), "parent": os.getppid(), "largest": 2**31 - 1}


@pytest.mark.parametrize("pid", IDS.values(), ids=IDS)
def test_a_process_that_is_not_the_job_s_is_never_signalled(folder, signalled, pid):
    started = process.start_time(pid) if isinstance(pid, int) else ...
    root = folder(status={"pid": pid, "process_started": started or "1"})
    runner = JobRunner.attach(root)
    runner.cancel(grace_s=0.0)
    runner.kill()
    assert runner.state in (JobState.LOST, JobState.CANCELLED)
    assert signalled == []


@posix
def test_a_bystander_with_the_right_start_time_lives(folder):
    other = bystander()
    try:
        while process.start_time(other.pid) is None:
            time.sleep(0.01)
        root = folder(status={"pid": other.pid, "process_started": process.start_time(other.pid)})
        if sys.platform == "linux":
            runner = JobRunner.attach(root)
            runner.kill()
            assert runner.state is JobState.CANCELLED
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize("field", ["pid", "returncode"])
@pytest.mark.parametrize("value", [-(2**31), 2**31, 10**400, 1.5, True, "17", [17], {"a": 1}])
def test_numbers_of_another_type_or_range_are_refused(folder, field, value):
    root = folder(status={field: value})
    with pytest.raises(JobError, match=f"{field}.*whole number"):
        JobRunner.attach(root)


@pytest.mark.parametrize(
    ("job", "status"),
    [
        ({"expect": ["../../etc/passwd"]}, {}),
        ({"expect": ["/etc/passwd"]}, {}),
        ({"expect": "a.txt"}, {}),
        ({"expect": [["a"]]}, {}),
        ({"expect": ["a"] * 10_001}, {}),
        ({"argv": {"a": "b"}}, {}),
        ({"title": ["x"]}, {}),
        ({"token": 5}, {}),
        ({"created": "yesterday"}, {}),
        ({"created": float("inf")}, {}),
        ({}, {"state": "winning"}),
        ({}, {"state": ["running"]}),
        ({}, {"reason": {"why": "x"}}),
        ({}, {"reason": "x" * 10_001}),
        ({}, {"process_started": 5}),
    ],
)
def test_fields_of_another_type_are_refused(folder, job, status):
    root = folder(job, status)
    with pytest.raises(JobError, match="must be"):
        JobRunner.attach(root)


@pytest.mark.parametrize("content", [b"", b"[]", b"[" * 200_000, b'{"a":' * 100_000, b"\xff\xfe", b" " * (2 << 20)])
@pytest.mark.parametrize("name", ["job.json", "status.json"])
def test_damaged_and_absurd_files_are_refused_and_left_out_of_lists(folder, name, content):
    root = folder()
    (root / name).write_bytes(content)
    with pytest.raises(JobError):
        JobRunner.attach(root)
    assert find_jobs(root.parent) == ([] if name == "job.json" else [root])


@posix
@pytest.mark.parametrize("name", ["job.json", "status.json", "events.jsonl", "log.txt"])
def test_pipes_and_links_neither_hang_nor_lead_out(folder, tmp_path, name):
    secret = tmp_path / "secret"
    secret.write_text(json.dumps({**JOB, **STATUS, "event": "warning", "message": "secret"}) + "\n")
    root = folder()
    for put in (os.mkfifo, lambda path: os.symlink(secret, path)):
        (root / name).unlink(missing_ok=True)
        put(root / name)
        if name.endswith(".json"):
            with pytest.raises(JobError):
                JobRunner.attach(root)
        else:
            update = JobRunner.attach(root).poll()
            assert (update.events, update.log) == ([], "")


@posix
def test_asking_to_stop_does_not_write_through_a_link(folder, tmp_path):
    root = folder()
    (root / "cancel").symlink_to(tmp_path / "made")
    JobRunner.attach(root).cancel()
    assert not (tmp_path / "made").exists()


@posix
def test_a_new_job_does_not_write_through_a_link(tmp_path):
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "log.txt").symlink_to(tmp_path / "made")
    with pytest.raises(JobError, match="folder of its own"):
        JobRunner(tmp_path / "job").start([sys.executable, "-c", "pass"])
    assert not (tmp_path / "made").exists()


def test_a_flood_of_output_is_read_in_parts(folder):
    root = folder()
    (root / "log.txt").write_bytes(b"x" * (20 * MAX_CHUNK_BYTES) + b"\nend\n")
    (root / "events.jsonl").write_text('{"event": "done"}\n')
    (root / "result").mkdir()
    (root / "result" / "a.txt").touch()
    runner = JobRunner.attach(root)
    first = runner.poll()
    assert len(first.log) <= 17 * MAX_CHUNK_BYTES
    assert not first.state.ended
    assert runner.wait(20) is JobState.SUCCEEDED


def test_an_event_without_end_is_not_kept(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"event": "' + b"x" * (5 * MAX_CHUNK_BYTES) + b'"}\n{"event": "done"}\n')
    tail, events = EventTail(path), []
    for _ in range(8):
        events += tail.read()
        assert len(tail._rest) <= 2 * MAX_CHUNK_BYTES
    assert [event["event"] for event in events] == ["malformed", "done"]


@pytest.mark.parametrize(
    "line",
    [
        '{"event": ["progress"]}',
        '{"event": "progress", "stage": "a", "done": "1", "total": 2}',
        '{"event": "progress", "stage": "a", "done": NaN, "total": 2}',
        '{"event": "progress", "stage": "a", "done": 1, "total": 1e999}',
        '{"event": "progress", "stage": "a", "done": 1, "total": 2, "eta_s": "soon"}',
        '{"event": "progress", "stage": {}, "done": 1, "total": 2}',
        '{"event": "metric", "name": "loss", "step": 1}',
        '{"event": "metric", "name": "loss", "value": 1, "step": ' + "9" * 400 + "}",
        '{"event": "artifact", "path": 7}',
        '{"event": "error", "kind": "internal"}',
        '{"event":' * 50_000,
    ],
)
def test_an_event_of_other_fields_is_malformed(tmp_path, line):
    path = tmp_path / "events.jsonl"
    path.write_text(line + "\n")
    (event,) = EventTail(path).read()
    assert event["event"] == "malformed"
    assert len(event["text"]) <= 1000


LEAVING = """
inner = "import time; time.sleep(600)"
middle = (
    "import os, subprocess, sys; child = subprocess.Popen([sys.executable, '-c', sys.argv[1]], start_new_session=True);"
    "open(sys.argv[2], 'w').write(str(child.pid))"
)
subprocess.run([sys.executable, "-c", middle, inner, str(result / "pid")])
print("ready", flush=True)
"""


@linux
@pytest.mark.parametrize("end", ["kill", "crash", "attached"])
def test_grandchildren_in_sessions_of_their_own_end_too(start, end):
    runner = start(LEAVING + ("os.kill(os.getpid(), signal.SIGKILL)" if end == "crash" else "time.sleep(600)"))
    while "ready" not in runner.folder.log.read_text():
        time.sleep(0.02)
    grandchild = int((runner.folder.result / "pid").read_text())
    if end == "kill":
        assert process.start_time(grandchild) is not None
        runner.kill()
    elif end == "crash":
        runner.wait(20)
    else:
        JobRunner.attach(runner.folder.root).kill()
        runner.wait(20)
    deadline = time.monotonic() + 10.0
    while process.start_time(grandchild) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@linux
def test_a_copy_of_a_job_s_folder_ends_nobody(start, tmp_path):
    runner = start("time.sleep(600)")
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("job.json", "status.json"):
        (copy / name).write_bytes((runner.folder.root / name).read_bytes())
    JobRunner.attach(copy).kill()
    assert runner.poll().state is not JobState.CANCELLED
    assert process.start_time(runner.pid) is not None


@posix
def test_what_a_job_says_is_its_owner_s_alone(start):
    before = os.umask(0o022)
    try:
        runner = start("print('Name of a person')")
        runner.wait(20)
        runner.cancel()
    finally:
        os.umask(before)
    files = [path for path in runner.folder.root.iterdir() if path.is_file()]
    assert {path.name for path in files} >= {"job.json", "status.json", "log.txt", "events.jsonl"}
    assert [path.name for path in files if stat.S_IMODE(path.stat().st_mode) != 0o600] == []
    assert stat.S_IMODE(runner.folder.root.stat().st_mode) == 0o700


@posix
def test_ps_tells_what_proc_tells(monkeypatch):
    """Where there is no /proc, processes are those of ``ps``: ours, its parent, and its child in its group."""
    child = bystander()
    try:
        monkeypatch.setattr(process, "LINUX", False)
        entries = {entry.pid: entry for entry in process._told_by_ps("-ax")}
        assert entries[os.getpid()].parent == os.getppid()
        assert entries[child.pid].group == child.pid
        head = process.Head(child.pid, process.start_time(child.pid))
        assert process.is_running(head)
        process.end_tree(head, force=True)
        assert child.wait(10) == -signal.SIGKILL
        assert not process.is_running(head)
    finally:
        child.kill()
        child.wait()
