"""Whole folders: whatever ends a writer, and at whatever step, the old one or the new one stands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from COFGeneratorLib import folders
from COFGeneratorLib.errors import ChainOfFlowError
from COFGeneratorLib.folders import whole_folder

OURS = {"cine", "sub/labels"}


def write(out, text):
    with whole_folder(out, lambda _: OURS) as folder:
        (folder / "cine").write_text(text)
        (folder / "sub").mkdir()
        (folder / "sub" / "labels").write_text(text)


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def whole(text):
    return dict.fromkeys(OURS, text)


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[3])
from pathlib import Path
from COFGeneratorLib import folders

if sys.argv[2] == "renames":
    folders._exchange = lambda one, other: False
EVENTS = ("os.", "shutil.", "open")

def begin(out, fatal):
    seen = 0
    def count(event, arguments):
        nonlocal seen
        seen += event.startswith(EVENTS)
        if seen == fatal:
            os.kill(os.getpid(), signal.SIGKILL)
    with folders.whole_folder(out, lambda folder: {"cine", "sub/labels"}) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "labels").write_text("new")
        (folder / "cine").write_text("new")
        sys.addaudithook(count)

def stands(out):
    return {path.relative_to(out).as_posix(): path.read_text() for path in out.rglob("*") if path.is_file()}

OLD, NEW = ({"cine": text, "sub/labels": text, "notes": "mine"} for text in ("old", "new"))
for fatal in range(1, 200):
    out = Path(sys.argv[1], str(fatal), "r")
    (out / "sub").mkdir(parents=True)
    (out / "cine").write_text("old"), (out / "sub" / "labels").write_text("old"), (out / "notes").write_text("mine")
    child = os.fork()
    if child == 0:
        begin(out, fatal)
        os._exit(0)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if sys.argv[2] == "exchange":
        assert stands(out) in (OLD, NEW), (fatal, stands(out))
    if ended == -signal.SIGKILL:  # the next writer finds an old or a new one, and no leftovers stay
        try:
            with folders.whole_folder(out, lambda folder: {"cine", "sub/labels"}):
                assert stands(out) in (OLD, NEW), (fatal, stands(out))
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass
    assert stands(out) in (OLD, NEW), (fatal, stands(out))
    assert [path.name for path in out.parent.iterdir()] == ["r"], list(out.parent.iterdir())
    if ended == 0:
        print(fatal - 1)
        break
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes that can be forked")
@pytest.mark.parametrize("way", ["exchange", "renames"])
def test_a_writer_killed_at_any_step_leaves_the_old_or_the_new(tmp_path, way):
    product = Path(folders.__file__).parents[1]
    run = [sys.executable, "-c", KILLED, str(tmp_path), way, str(product)]
    done = subprocess.run(run, capture_output=True, encoding="utf-8", timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 8  # points at which it was killed


def test_two_writers_of_one_folder_exclude_each_other(tmp_path):
    with whole_folder(tmp_path / "r", lambda _: OURS) as first:
        (first / "cine").write_text("first")
        with pytest.raises(ChainOfFlowError, match="another at work"):
            write(tmp_path / "r", "second")
        write(tmp_path / "other", "free")
    assert content(tmp_path / "r") == {"cine": "first"}
    assert {path.name for path in tmp_path.iterdir()} == {"r", "other"}


def test_files_of_others_stay_also_those_that_are_links(tmp_path):
    write(tmp_path / "r", "old")
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "file").write_text("mine")
    (tmp_path / "r" / "notes").write_text("mine")
    (tmp_path / "r" / "sub" / "link").symlink_to(tmp_path / "far")
    write(tmp_path / "r", "new")
    assert content(tmp_path / "r") == whole("new") | {"notes": "mine"}
    assert (tmp_path / "r" / "sub" / "link" / "file").read_text() == "mine"
    assert (tmp_path / "far" / "file").read_text() == "mine"


def test_a_link_to_a_folder_stands_for_it(tmp_path):
    write(tmp_path / "far", "old")
    (tmp_path / "r").symlink_to(tmp_path / "far")
    write(tmp_path / "r", "new")
    assert (tmp_path / "r").is_symlink()
    assert content(tmp_path / "far") == whole("new")


def test_what_dead_writers_left_is_swept_and_nothing_else(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "file").write_text("mine")
    (tmp_path / ".r.partial-4711").mkdir()
    (tmp_path / ".r.partial-4711" / "half").write_text("x")
    (tmp_path / ".r.partial-link").symlink_to(tmp_path / "far")
    (tmp_path / ".rs.partial-1").mkdir()
    write(tmp_path / "r", "new")
    assert {path.name for path in tmp_path.iterdir()} == {"r", "far", ".r.partial-link", ".rs.partial-1"}
    assert (tmp_path / "far" / "file").read_text() == "mine"


def test_a_failed_rename_leaves_the_old_one(tmp_path, monkeypatch):
    write(tmp_path / "r", "old")
    monkeypatch.setattr(folders, "_exchange", lambda one, other: False)
    rename = Path.rename

    def refuse(path, target):
        if ".partial-" in path.name:
            raise OSError("no")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="no"):
        write(tmp_path / "r", "new")
    assert content(tmp_path / "r") == whole("old")
    assert [path.name for path in tmp_path.iterdir()] == ["r"]


def test_without_locks_results_are_written_too(tmp_path, monkeypatch):
    def refuse(file):
        raise OSError("no locks on this disk")

    monkeypatch.setattr(folders, "_try_lock", refuse)
    write(tmp_path / "r", "old")
    write(tmp_path / "r", "new")
    assert content(tmp_path / "r") == whole("new")
