"""Files that are whole or not there, and what killed writers leave."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from COFGeneratorLib import files
from COFGeneratorLib.files import append_csv, replacing, write_csv, write_text

posix = pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")

KILLED = """
import os, signal, sys
from pathlib import Path
from COFGeneratorLib.files import replacing

with replacing(Path(sys.argv[1])) as beside:
    beside.write_text("half")
    print(os.getpid(), flush=True)
    sys.stdin.readline()  # until it is killed
"""


def begin_to_write(path: Path) -> subprocess.Popen:
    writer = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert writer.stdout.readline().strip() == str(writer.pid)
    return writer


@pytest.fixture(autouse=True)
def a_process_that_has_swept_nothing():
    files._sweep.cache_clear()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@posix
@pytest.mark.parametrize("name", ["table.csv", "another.json", "none"])
def test_what_a_killed_writer_left_half_written_is_swept_by_the_next_one(tmp_path, name):
    writer = begin_to_write(tmp_path / "table.csv")
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    assert len(names(tmp_path)) == 1  # hidden
    write_text(tmp_path / name, "whole")
    assert names(tmp_path) == {name}


@posix
def test_what_a_living_writer_is_at_is_left_alone(tmp_path):
    writer = begin_to_write(tmp_path / "table.csv")
    write_text(tmp_path / "table.csv", "mine")
    assert len(names(tmp_path)) == 2
    writer.communicate("go on\n")
    assert names(tmp_path) == {"table.csv"}
    assert (tmp_path / "table.csv").read_text() == "half"  # what was written last, as a whole


@posix
def test_files_of_other_machines_and_all_other_hidden_ones_stay(tmp_path):
    dead = f"{2**22 + 1:x}"  # beyond the ids of Linux
    kept = {".bashrc", ".table.0123456789ab.csv", f".table.{files._machine()}-{dead}-0.csv", "a.csv",
            f".table.{'0' * 6}-{dead}-01234567.csv", f".a.{files._machine()}-{os.getpid():x}-01234567"}  # fmt: skip
    for name in kept:
        (tmp_path / name).touch()
    (tmp_path / f".a.{files._machine()}-{dead}-01234567").mkdir()
    gone = tmp_path / f".table.{files._machine()}-{dead}-01234567.csv"
    gone.symlink_to(tmp_path / "a.csv")
    write_text(tmp_path / "b", "whole")
    assert names(tmp_path) == kept | {"b", f".a.{files._machine()}-{dead}-01234567"}
    assert (tmp_path / "a.csv").exists()


def break_off(path: Path) -> None:
    with replacing(path) as beside:
        beside.write_text("half")
        raise KeyboardInterrupt


def test_a_writer_that_is_interrupted_takes_its_own_half_away(tmp_path):
    write_text(tmp_path / "a", "old")
    with pytest.raises(KeyboardInterrupt):
        break_off(tmp_path / "a")
    assert names(tmp_path) == {"a"}
    assert (tmp_path / "a").read_text() == "old"


def test_half_a_letter_is_written_as_a_question_mark(tmp_path):
    write_csv(tmp_path / "a.csv", ("name", "value"), [("a\ud800b", 1)])
    append_csv(tmp_path / "a.csv", [("\udcff", 2)])
    write_text(tmp_path / "a.txt", "x\ud800")
    assert (tmp_path / "a.csv").read_text("utf-8").splitlines() == ["name,value", "a?b,1", "?,2"]
    assert (tmp_path / "a.txt").read_text("utf-8") == "x?"
