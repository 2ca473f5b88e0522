"""How much work a batch is, and a start from cold: CPU time and disk a case, and what two workers gain.

    OMP_NUM_THREADS=1 python Testing/Benchmarks/batch_speed.py [--cases 4] [--only case cold ecg workers]

``case``: CPU time of a case after the first in one process, labels given, and the disk it takes, with
``--write cine,function``. ``cold``: CPU time of ``cof generate`` with all files in a process of its own, from its start
to its end. ``ecg``: of ``cof ecg``. ``workers``: time on the clock of one worker over that of two, which needs two free
cores. The smallest of some repeats counts. Exit 1 where a bar is missed.
"""

import argparse
import contextlib
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATHS = [str(ROOT / "COFGenerator"), str(ROOT / "COFTraining")]
sys.path[:0] = PATHS
SAMPLE = ROOT / "Resources" / "SampleData"
GENERATE = ["--anchor", str(SAMPLE / "anchor.nrrd"), "--ecg", str(SAMPLE / "ecg.hea")]
LABELS = ["--labels", str(SAMPLE / "labels.nrrd"), "--label-map", "lv=1,myo=2,rv=3"]
CASE_CPU_S, CASE_MB, COLD_CPU_S, ECG_CPU_S, LEAST_GAIN = 4.0, 12.0, 9.0, 2.0, 1.8
BUSY = 0.2
"""Load of other work, in cores, above which two workers have no two free ones."""


def cof(*words: str) -> float:
    """Run a command in a process of its own; return its CPU time, s."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(PATHS), "MPLBACKEND": "Agg"}
    before = os.times()
    done = subprocess.run(
        [sys.executable, "-m", "COFGeneratorLib", *words],
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    after = os.times()
    if done.returncode:
        sys.exit(f"cof {words[0]} ended with {done.returncode}: {done.stderr.strip()}")
    return after.children_user + after.children_system - before.children_user - before.children_system


def a_table(folder: Path, cases: int) -> Path:
    """Write a table of the bundled patient, under one seed a case."""
    table = folder / "cases.csv"
    rows = [f'p{n},{GENERATE[1]},{GENERATE[3]},{LABELS[1]},"{LABELS[3]}",{n}' for n in range(cases)]
    table.write_text("\n".join(["case,anchor,ecg,labels,label_map,seed", *rows]) + "\n", encoding="utf-8")
    return table


def case(options: argparse.Namespace, folder: Path) -> list[tuple[str, float, float, str]]:
    """Measure cases in this process."""
    from COFGeneratorLib.cases.case import run_case
    from COFGeneratorLib.cases.request import GenerateRequest
    from COFGeneratorLib.cases.table import read_table
    from COFGeneratorLib.resources import default_bundle

    shared = GenerateRequest(
        model=str(default_bundle()), device="cpu", write=("cine", "function"), out=str(folder / "results")
    )
    spent = []
    for one in read_table(a_table(folder, options.cases + 1)):
        start = time.process_time()
        with contextlib.redirect_stdout(io.StringIO()):
            outcome = run_case(one, shared)
        spent.append(time.process_time() - start)
        if outcome.state != "done":
            sys.exit(f"A case failed: {outcome.message}")
    size = sum(path.stat().st_size for path in (folder / "results" / "p1").rglob("*") if path.is_file())
    return [
        ("CPU of a case after the first", min(spent[1:]), CASE_CPU_S, "s"),
        ("disk of a case", size / 1e6, CASE_MB, "MB"),
    ]


def cold(options: argparse.Namespace, folder: Path) -> list[tuple[str, float, float, str]]:
    """Measure a generation from cold, with all files."""
    spent = [
        cof("generate", *GENERATE, *LABELS, "--out", str(folder / f"cold{n}"), "--device", "cpu", "--quiet")
        for n in range(options.repeats)
    ]
    return [("CPU of cof generate from cold", min(spent), COLD_CPU_S, "s")]


def ecg(options: argparse.Namespace, folder: Path) -> list[tuple[str, float, float, str]]:
    """Measure the reading of an ECG from cold."""
    spent = [cof("ecg", GENERATE[3], "--out", str(folder / f"ecg{n}"), "--quiet") for n in range(options.repeats)]
    return [("CPU of cof ecg from cold", min(spent), ECG_CPU_S, "s")]


def workers(options: argparse.Namespace, folder: Path) -> list[tuple[str, float, float, str]]:
    """Measure what a second worker gains; nothing where the machine has no second free core."""
    busy = os.getloadavg()[0]
    if (os.cpu_count() or 1) - busy < 2.0 - BUSY:
        print(f"two workers: not measured, {os.cpu_count()} cores have a load of {busy:.1f} already")
        return []
    table, spent = a_table(folder, 6 * options.cases), []
    for count in (1, 2):
        start = time.perf_counter()
        cof("batch", "--table", str(table), "--out", str(folder / f"by{count}"), "--workers", str(count), "--device",
            "cpu", "--write", "cine,function", "--quiet")  # fmt: skip
        spent.append(time.perf_counter() - start)
    return [("two workers, of the best two could do", LEAST_GAIN * spent[1] / spent[0], 1.0, "")]


MEASURES: dict[str, Callable] = {"case": case, "cold": cold, "ecg": ecg, "workers": workers}


def main() -> int:
    """Measure; returns 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=4, help="measured cases (default 4)")
    parser.add_argument("--repeats", type=int, default=3, help="of what starts from cold (default 3)")
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=list(MEASURES))
    options = parser.parse_args()
    met = True
    for name in options.only:
        with tempfile.TemporaryDirectory() as folder:
            for what, value, bar, unit in MEASURES[name](options, Path(folder)):
                met &= value <= bar
                print(f"{what:40s}{value:8.2f} {unit:3s} bar {bar:g}{'' if value <= bar else '   MISSED'}", flush=True)
    return int(not met)


if __name__ == "__main__":
    sys.exit(main())
