"""A batch of many cases with a small stand-in model in one process: time, memory, descriptors, leftovers.

    python Testing/Benchmarks/batch_load.py [--cases 1000]
    python Testing/Benchmarks/batch_load.py --cases 200 --model Resources/Models/cof-plus

Every hundredth case has a damaged ECG. After each tenth of the cases a line tells how many have ended, seconds a case,
memory and open descriptors. Exit code 1 where memory has grown by more than 100 MB or descriptors by more than 5 since
the first tenth, where a table has not one row a case, or where anything else is left than results and tables.
"""

import argparse
import os
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "COFGenerator"), str(ROOT / "COFTraining"), str(ROOT / "Testing")]

from COFGeneratorLib.cases.case import run_case, run_cases  # noqa: E402
from COFGeneratorLib.cases.request import GenerateRequest  # noqa: E402
from COFGeneratorLib.cases.table import read_table  # noqa: E402
from COFGeneratorLib.commands.batch import Tables  # noqa: E402
from COFGeneratorLib.resources import sample_patient  # noqa: E402
from support.command_line import write_small_bundle  # noqa: E402

MOST_MORE_MB, MOST_MORE_FILES = 100.0, 5
DAMAGED_EVERY = 100
TABLES = {"summary.csv", "failures.csv"}


def main() -> int:
    """Run; 0 where nothing grows and nothing is left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--model", type=Path, help="a real model in place of the stand-in")
    options = parser.parse_args()
    count = options.cases
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="cof-load-") as folder:
        place = Path(folder)
        table = write_table(place, count)
        model = options.model or write_small_bundle(place / "bundle")
        shared = GenerateRequest(
            out=str(place / "out"), model=str(model), frames=4, device="cpu", write=("function",)
        )  # fmt: skip
        cases = read_table(table)
        tables = Tables(place / "out", cases)
        tables.out.mkdir(exist_ok=True)
        seen: list[tuple[float, int]] = []
        begun = time.monotonic()
        for outcome in run_cases(partial(run_case, shared=shared), cases):
            tables.add(outcome)
            if len(tables.outcomes) % max(count // 10, 1) == 0:
                seen.append((memory_mb(), descriptors()))
                seconds = (time.monotonic() - begun) / len(tables.outcomes)
                print(
                    f"{len(tables.outcomes):6d} cases  {seconds:.2f} s a case  {seen[-1][0]:.0f} MB  "
                    f"{seen[-1][1]} descriptors", flush=True,
                )  # fmt: skip
        tables.write()
        return verdict(tables, seen, count)


def write_table(place: Path, count: int) -> Path:
    """Write a table of the sample patient under many names; one ECG in a hundred is damaged."""
    patient = sample_patient()
    bad = place / f"bad{patient.ecg.suffix}"
    bad.write_bytes(patient.ecg.read_bytes()[:200])
    rows = ["case,anchor,ecg,labels,label_map,seed"]
    for n in range(count):
        ecg = bad.name if n % DAMAGED_EVERY == DAMAGED_EVERY - 1 else patient.ecg
        rows.append(f'{n},{patient.anchor},{ecg},{patient.labels},"lv=1,myo=2,rv=3",{n}')
    (place / "cases.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return place / "cases.csv"


def verdict(tables: Tables, seen: list[tuple[float, int]], count: int) -> int:
    """Print what has grown and what is left; returns the exit code."""
    more_mb, more_files = seen[-1][0] - seen[0][0], seen[-1][1] - seen[0][1]
    rows = sum(len((tables.out / name).read_text("utf-8").splitlines()) - 1 for name in TABLES)
    failed = len(tables.failed)
    left = {path.name for path in tables.out.iterdir()} - TABLES - set(tables.cases)
    grown = f"grown by {more_mb:.0f} MB and {more_files} descriptors"
    print(f"{grown}; {rows} rows, {failed} failures; left: {left or 'none'}")
    wrong = more_mb > MOST_MORE_MB or more_files > MOST_MORE_FILES or rows != count or left
    return int(bool(wrong) or failed != count // DAMAGED_EVERY)


def memory_mb() -> float:
    """Return the memory of this process (Linux)."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024.0


def descriptors() -> int:
    """Return the open descriptors of this process (Linux)."""
    return len(os.listdir("/proc/self/fd"))


if __name__ == "__main__":
    sys.exit(main())
