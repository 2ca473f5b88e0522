"""Consoles that lack characters, pipes that close, no console at all, no home: a command says what it can."""

import os
import subprocess
import sys

import pytest
from COFGeneratorLib.jobs.safely import UNREAD_EXIT_CODE
from support import waiting_command

WORDS = "α µ – × …\n"


def run(*words, **environment) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    environment = {name: value for name, value in environment.items() if value is not None}
    return subprocess.run([sys.executable, *map(str, words)], capture_output=True, env=environment, check=False)


@pytest.mark.parametrize(
    ("encoding", "said"),
    [("utf-8", WORDS), ("ascii", "? u - x ...\n"), ("cp437", "α µ - x ...\n"), ("latin-1", "? µ - × ...\n")],
)
def test_a_console_gets_what_it_has(tmp_path, encoding, said):
    found = run(waiting_command.__file__, "said", tmp_path, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert (found.returncode, found.stderr) == (0, b"")
    assert found.stdout.decode(encoding).replace("\r", "") == said


@pytest.mark.parametrize("encoding", ["ascii", "cp437"])
@pytest.mark.parametrize("words", [("evaluate", "--help"), ("bundle", "info", "x")])
def test_every_console_can_show_help_and_errors(encoding, words):
    found = run("-m", "COFTrainingLib.cli", *words, PYTHONIOENCODING=f"{encoding}:strict", PYTHONUTF8="0")
    assert found.returncode == (2 if "info" in words else 0)
    assert b"Traceback" not in found.stderr
    (found.stdout + found.stderr).decode(encoding)


@pytest.mark.skipif(os.name == "nt", reason="closes a POSIX pipe")
@pytest.mark.parametrize(
    "words", [(waiting_command.__file__, "much"), ("-m", "COFTrainingLib.cli", "evaluate", "--help")]
)
def test_a_reader_that_has_enough_is_no_failure(tmp_path, words):
    """As ``cof … | head -1``."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [sys.executable, *words, *([str(tmp_path)] if "much" in words else [])]
    ours, theirs = os.pipe()
    if "much" not in words:
        os.close(ours)  # nobody listens from the start
    with subprocess.Popen(argv, env=environment, stdout=theirs, stderr=subprocess.PIPE) as command:
        os.close(theirs)
        if "much" in words:
            os.read(ours, 100)
            os.close(ours)
        said = command.communicate(timeout=60)[1]
    assert said == b""
    assert command.returncode in ({UNREAD_EXIT_CODE} if "much" in words else {0, UNREAD_EXIT_CODE})


def test_without_a_home_or_a_console_things_work(tmp_path):
    absent = dict.fromkeys(["HOME", "USER", "LOGNAME", "USERPROFILE", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "TERM"])
    code = (
        "import sys; sys.stdout = sys.stderr = None\nfrom COFTrainingLib.cli import main\nsys.exit(main(sys.argv[1:]))"
    )
    for words in (("-m", "COFTrainingLib.cli"), ("-c", code)):
        found = run(*words, "bundle", "info", tmp_path, **absent)
        assert found.returncode == 2
        assert b"Traceback" not in found.stderr


def test_a_name_that_is_no_text_can_be_said(tmp_path):
    found = run("-m", "COFTrainingLib.cli", "bundle", "info", os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe"))
    assert found.returncode == 2
    assert found.stderr.startswith(b"cof: A model bundle needs")
