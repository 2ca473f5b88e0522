"""Events as a job writes them."""

import json

import pytest
from COFGeneratorLib.errors import AnatomyError
from COFGeneratorLib.jobs.events import EventWriter, JobCancelled, job_events, kind_of_error
from COFGeneratorLib.jobs.tail import EventTail, without_rewrites


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_progress_has_stage_counts_and_time_left(tmp_path, monkeypatch):
    clock = [100.0]
    monkeypatch.setattr("COFGeneratorLib.jobs.events.time.monotonic", lambda: clock[0])
    writer = EventWriter(tmp_path / "events.jsonl")
    for done in range(5):
        writer.progress("sampling", done, 4)
        clock[0] += 2.0
    found = lines(tmp_path / "events.jsonl")
    assert [event["done"] for event in found] == [0, 1, 2, 3, 4]
    assert found[0]["eta_s"] is None
    assert found[1]["eta_s"] == pytest.approx(6.0)
    assert found[4]["eta_s"] == 0.0


def test_fast_steps_are_thinned_but_first_and_last_are_kept(tmp_path):
    writer = EventWriter(tmp_path / "events.jsonl")
    for done in range(10001):
        writer.progress("warping", done, 10000)
    found = lines(tmp_path / "events.jsonl")
    assert len(found) < 200
    assert (found[0]["done"], found[-1]["done"]) == (0, 10000)


def test_library_callbacks_become_progress(tmp_path):
    writer = EventWriter(tmp_path / "events.jsonl")
    report = writer.callback("generate")
    report(1, 2, "sampling")
    report(2, 2)
    assert [event["stage"] for event in lines(tmp_path / "events.jsonl")] == ["sampling", "generate"]


def test_without_a_file_nothing_happens(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with job_events(None) as events:
        events.progress("sampling", 1, 2)
        events.metric("loss", 0.5, 1)
    assert list(tmp_path.iterdir()) == []


def test_the_cancel_file_stops_the_job_at_its_next_step(tmp_path):
    def work():
        with job_events(tmp_path / "events.jsonl") as events:
            events.progress("a", 1, 2)
            (tmp_path / "cancel").touch()
            events.progress("a", 2, 2)

    with pytest.raises(JobCancelled):
        work()
    assert [event["event"] for event in lines(tmp_path / "events.jsonl")] == ["progress", "cancelled"]


def test_leaving_with_exit_code_zero_is_not_an_error(tmp_path):
    with pytest.raises(SystemExit), job_events(tmp_path / "events.jsonl"):
        raise SystemExit(0)
    assert lines(tmp_path / "events.jsonl") == []


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (AnatomyError("x"), "bad_input"),
        (MemoryError(), "oom"),
        (RuntimeError("CUDA error: out of memory"), "oom"),
        (type("OutOfMemoryError", (RuntimeError,), {})("x"), "oom"),
        (RuntimeError("CUDA error: no kernel image is available"), "no_gpu"),
        (ModuleNotFoundError("No module named 'torch'"), "missing_package"),
        (OSError(28, "No space left on device"), "disk"),
        (KeyError("x"), "internal"),
    ],
)
def test_errors_are_told_apart(error, kind):
    assert kind_of_error(error) == kind


def test_a_half_written_line_waits_for_its_end(tmp_path):
    path = tmp_path / "events.jsonl"
    tail = EventTail(path)
    assert tail.read() == []
    path.write_text('{"event":"done"}\n{"event":"warn')
    assert [event["event"] for event in tail.read()] == ["done"]
    with path.open("a") as stream:
        stream.write('ing","message":"wide QRS"}\n')
    assert [event["event"] for event in tail.read()] == ["warning"]


def test_characters_split_between_two_reads_are_whole(tmp_path):
    from COFGeneratorLib.jobs.tail import TextTail

    path = tmp_path / "log.txt"
    tail = TextTail(path)
    path.write_bytes("ü".encode()[:1])
    first = tail.read()
    with path.open("ab") as stream:
        stream.write("ü".encode()[1:])
    assert first + tail.read() == "ü"


def test_windows_line_ends_survive():
    assert without_rewrites("one\r\ntwo\r\n") == "one\ntwo\n"
