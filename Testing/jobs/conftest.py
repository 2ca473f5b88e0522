"""Jobs that are real child processes running a few lines of Python."""

import os
import sys
import textwrap
from pathlib import Path

import pytest
from COFGeneratorLib.jobs import JobRunner

LIBRARY = Path(__file__).resolve().parents[2] / "COFGenerator"


@pytest.fixture
def start(tmp_path):
    """Return ``start(code, **options)``: a started job; ``events`` and ``result`` are known to the code."""
    jobs = []

    def begin(code: str, name: str = "job", **options) -> JobRunner:
        runner = JobRunner(tmp_path / name)
        head = (
            "import os, pathlib, signal, subprocess, sys, time\n"
            "from COFGeneratorLib.jobs.events import job_events, JobCancelled\n"
            f"events_file = {str(runner.folder.events)!r}\nresult = pathlib.Path({str(runner.folder.result)!r})\n"
        )
        env = {**os.environ, "PYTHONPATH": str(LIBRARY)}
        runner.start([sys.executable, "-c", head + textwrap.dedent(code)], env=env, **options)
        jobs.append(runner)
        return runner

    yield begin
    for runner in jobs:
        runner.kill()
