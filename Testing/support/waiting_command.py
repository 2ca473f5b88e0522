"""A command that works until it is stopped, for the tests of stopping and of terminals: ``python … KIND FOLDER``."""

import argparse
import sys
import time
from functools import partial
from pathlib import Path

from COFGeneratorLib.jobs.safely import run_safely
from COFGeneratorLib.jobs.session import session
from COFGeneratorLib.jobs.workers import spread

from support.small_work import slow


def work(kind: str, folder: Path) -> int:
    with session(argparse.Namespace(events=str(folder / "events.jsonl"), quiet=False)) as current:
        done: list[int] = []
        current.standing = lambda: f"{len(done)} results stand."
        if kind == "said":
            current.say("α µ – × …")
            return 0
        if kind == "much":
            for _ in range(20_000):
                current.say("a line of a result that is long enough to fill the pipe soon")
            return 0
        (folder / "marks").mkdir()
        for number in spread(partial(slow, str(folder / "marks")), range(9), workers=1 if kind == "one" else 2):
            done.append(number)
            (folder / "table.csv").write_text(f"{len(done)}\n")
            (folder / "ready").touch()
            time.sleep(0.0)
    return 0


if __name__ == "__main__":
    sys.exit(run_safely(lambda: work(sys.argv[1], Path(sys.argv[2]))))
