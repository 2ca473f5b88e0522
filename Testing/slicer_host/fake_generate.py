"""Stands in for ``cof generate`` in tests of the panel: takes the same arguments and gives the same files, quickly.

COF_FAKE_RESULT is the folder that it gives out. COF_FAKE says how it behaves: slow (goes on until it is stopped), deaf
(does not listen, with a child), fail (a user's error), crash (exit 3), partial (says done without a result).
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser()
    for name in (
        "anchor",
        "engine",
        "ecg",
        "out",
        "events",
        "labels",
        "label-map",
        "model",
        "device",
        "solver",
        "roi",
        "cine",
        "rr",
        "anchor-phase",
        "ef",
        "hr",
    ):
        parser.add_argument(f"--{name}")
    for name, default in (("frames", 50), ("samples", 1), ("seed", 0), ("steps", 0), ("beat", 0), ("anchor-frame", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--draw", action=argparse.BooleanOptionalAction)
    arguments = parser.parse_args()
    behaviour = os.environ.get("COF_FAKE", "")

    from COFGeneratorLib.jobs.events import job_events

    with job_events(arguments.events) as events:
        events.progress("reading", 0, 1)
        if behaviour == "fail":
            from COFGeneratorLib.errors import AnatomyError

            raise AnatomyError("A heart in view needs an LV cavity; found none. Check the volume.")
        if behaviour == "crash":
            sys.stdout.write("something broke inside\n")
            sys.stdout.flush()
            os._exit(3)
        if behaviour == "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
            child = subprocess.Popen([sys.executable, "-c", code])
            Path(arguments.events).with_name("pids").write_text(f"{os.getpid()} {child.pid}")
            time.sleep(600)
        if behaviour == "slow":
            for step in range(6000):
                events.progress("sampling", step, 6000)
                time.sleep(0.05)
        if behaviour != "partial":
            generate(arguments, events)
    return 0


def generate(arguments, events) -> None:
    """Give out the result that was made beforehand."""
    events.progress("sampling", 1, 2)
    manifest = Path(os.environ["COF_FAKE_RESULT"], "run.json")
    warnings = json.loads(manifest.read_text("utf-8"))["warnings"] if manifest.is_file() else ["This heart is a ring."]
    for words in warnings:
        events.warning(words)
    shutil.copytree(os.environ["COF_FAKE_RESULT"], arguments.out)
    events.progress("writing", 2, 2)


if __name__ == "__main__":
    sys.exit(main())
