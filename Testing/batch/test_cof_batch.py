"""The batch script that Slicer runs: same code as ``cof batch``, and it always leaves with an exit code."""

import csv
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest
from COFGeneratorLib.batch import cof_batch

SCRIPT = Path(cof_batch.__file__)


def run_script(*arguments, cwd=None):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        encoding="utf-8",
        env=environment,
        cwd=cwd,
        check=False,
    )


def test_options_are_those_after_the_double_dash():
    assert cof_batch.batch_arguments(["--", "--table", "a"]) == ["--table", "a"]
    assert cof_batch.batch_arguments(["--table", "a"]) == ["--table", "a"]


@pytest.mark.slow
def test_a_table_with_bad_rows_alone_gives_failures_and_an_exit_code(tmp_path):
    table = tmp_path / "cases.csv"
    table.write_text("case,anchor,ecg\nfirst,gone.nrrd,gone.csv\nsecond,,gone.csv\n")
    done = run_script("--", "--table", str(table), "--out", str(tmp_path / "out"), cwd=tmp_path)
    assert done.returncode != 0, done.stderr
    with (tmp_path / "out" / "failures.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["case"] for row in rows} == {"first", "second"}


def test_a_wrong_option_gives_the_exit_code_of_the_command(tmp_path):
    assert run_script("--", "--table", "x.csv").returncode == 2


def test_slicer_is_left_even_when_the_batch_cannot_start(monkeypatch):
    codes = []
    fake = types.SimpleNamespace(app=object(), util=types.SimpleNamespace(exit=codes.append))
    monkeypatch.setitem(sys.modules, "slicer", fake)
    monkeypatch.setattr(sys, "argv", ["cof_batch.py", "--table", "x"])
    monkeypatch.setattr(cof_batch, "run", lambda arguments: 3)
    cof_batch.main()
    assert codes == [3]

    def broken(arguments):
        raise OSError("no interpreter")

    monkeypatch.setattr(cof_batch, "run", broken)
    with pytest.raises(OSError, match="no interpreter"):
        cof_batch.main()
    assert codes == [3, 1]
