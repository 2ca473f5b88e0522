"""Progress on a terminal and elsewhere, and what ``--json`` prints."""

import argparse
import io
import json

import pytest
from COFGeneratorLib.jobs.progress import EVERY_S, Progress, time_words
from COFGeneratorLib.jobs.session import session


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    now_s = 0.0

    def __call__(self):
        return self.now_s


def test_a_terminal_gets_one_bar_with_the_time_left(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    stream, clock = Terminal(), Clock()
    progress = Progress(stream, clock)
    progress.tell("sampling", 0, 50)
    clock.now_s = 10.0
    progress.tell("sampling", 20, 50)
    assert stream.getvalue().split("\r")[-1].startswith("sampling [##########--------------]  40 %  15 s left")
    progress.tell("sampling", 50, 50)
    assert "left" not in stream.getvalue().split("\r")[-1]
    progress.clear()
    assert "\n" not in stream.getvalue()
    assert stream.getvalue().endswith("\r")


def test_a_bar_never_breaks_a_narrow_terminals_line(monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    stream = Terminal()
    Progress(stream).tell("a stage with a very long name of its own", 1, 2)
    assert len(stream.getvalue().lstrip("\r")) < 30


def test_elsewhere_a_stage_gets_a_line_and_more_only_when_it_lasts():
    stream, clock = io.StringIO(), Clock()
    progress = Progress(stream, clock)
    for step in range(100):
        progress.tell("sampling", step, 100)
        clock.now_s += EVERY_S / 40
    lines = stream.getvalue().splitlines()
    assert lines[0] == "sampling …"
    assert lines[1] == "sampling … 40 of 100, 30 s left"
    assert len(lines) == 3
    progress.tell("writing", 0, 1)
    assert stream.getvalue().splitlines()[-1] == "writing …"
    assert "\r" not in stream.getvalue()


def test_times_are_said_as_people_say_them():
    assert [time_words(seconds) for seconds in (12.4, 600.0, 7200.0)] == ["12 s", "10 min", "2.0 h"]


def test_json_stands_alone_on_stdout(capsys):
    with session(argparse.Namespace(events=None, quiet=False, json=True)) as current:
        current.progress(1, 2, "reading")
        current.say("words")
        current.warn("A doubt.")
        current.facts["ef_percent"] = 55.0
        current.say_warnings()
    said = capsys.readouterr()
    told = json.loads(said.out)
    assert (told["ef_percent"], told["warnings"]) == (55.0, ["A doubt."])
    assert "reading" in said.err


def test_nothing_is_printed_as_json_of_a_command_that_fails(capsys):
    with pytest.raises(ZeroDivisionError), session(argparse.Namespace(events=None, quiet=False, json=True)) as current:
        current.facts["half"] = 1 / 0
    assert capsys.readouterr().out == ""
