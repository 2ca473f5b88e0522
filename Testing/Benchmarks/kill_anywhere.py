"""Kill commands with SIGKILL at points spread over their run: nothing lost, nothing half-written, nobody left behind.

    python Testing/Benchmarks/kill_anywhere.py [generate] [batch] [cohort] [evaluate] [teacher] … [--points 20]
        [--signal TERM]

A small untrained model stands in for the real one, and trainings are those of the configuration smoke, made smaller.
After each kill the folder must hold the old result or the new one, and no process of the command may live ten seconds
later. Run again, the command must end with the results of an uninterrupted run and with nothing hidden beside them.
Commands that go on from where they were are killed ``--chain`` times on the way to one result. With ``--signal`` they
are asked to stop (INT, TERM, HUP) in place of killed, and must end with 130. Exit code 1 where something is not so.
Commands begin in forks of one process that has loaded the libraries: nothing happens before.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "COFGenerator"), str(ROOT / "COFTraining"), str(ROOT / "Testing")]

from COFGeneratorLib.export import read_heart  # noqa: E402
from COFGeneratorLib.jobs.stopping import signals_interrupt  # noqa: E402
from COFGeneratorLib.resources import sample_patient  # noqa: E402
from COFGeneratorLib.results.folder import read_manifest  # noqa: E402
from support import killing  # noqa: E402
from support.killing import Tally  # noqa: E402

PARTS = "cine,labels,function"
CODES = "lv=1,myo=2,rv=3"
OLD_EF, NEW_EF = "40", "60"
SETTINGS = ROOT / "Testing" / "support" / "killed_trainings.toml"
GROWING = ("events.jsonl", "results.jsonl", "log.txt")
"""Files that are appended to, line by line."""


def main() -> int:
    """Run the commands asked for; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="*", help=f"of {', '.join(COMMANDS)} (default: all)")
    parser.add_argument("--points", type=int, default=20, help="kills of each command (default 20)")
    parser.add_argument("--chain", type=int, default=5, help="kills on the way to one result (default 5)")
    parser.add_argument("--signal", choices=("KILL", "INT", "TERM", "HUP"), default="KILL", help="default KILL")
    arguments = parser.parse_args()
    number = signal.Signals[f"SIG{arguments.signal}"]
    os.environ |= {"PYTHONPATH": os.pathsep.join(sys.path[:3]), "OMP_NUM_THREADS": "1"}
    killing.load()
    faults = 0
    with signals_interrupt(), tempfile.TemporaryDirectory(prefix="cof-kill-") as folder:
        bundle = Path(folder, "bundle")
        in_a_fork(lambda: write_bundle(bundle))
        for name in arguments.commands or COMMANDS:
            place = Path(folder, name)
            place.mkdir()
            begun = time.monotonic()
            tally = COMMANDS[name](place, bundle, Points(arguments.points, arguments.chain, number))
            print(f"{name}: {tally} ({time.monotonic() - begun:.0f} s)", flush=True)
            for fault in tally.faults:
                print(f"  {fault}", flush=True)
            faults += len(tally.faults)
            shutil.rmtree(place)
    return 1 if faults else 0


@dataclass(frozen=True)
class Points:
    """How many kills there are, how many on the way to one result, and by which signal."""

    count: int
    chain: int
    signal: signal.Signals


def in_a_fork(work: Callable[[], object]) -> None:
    """Do work in a process of its own: what is forked later has used no thread of torch."""
    pid = os.fork()
    if not pid:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    if os.waitpid(pid, 0)[1]:
        raise SystemExit("The stand-in model could not be written.")


def write_bundle(folder: Path) -> None:
    """Write the model that stands in for the real one."""
    from support.command_line import write_small_bundle

    write_small_bundle(folder)


def kill_generate(place: Path, bundle: Path, points: Points) -> Tally:
    """Kill the replacement of a result by another."""
    patient, tally, said = sample_patient(), Tally(), place / "said.txt"

    def words(out: Path, ef: str) -> list[object]:
        files = ["--anchor", patient.anchor, "--ecg", patient.ecg, "--labels", patient.labels]
        how = ["--label-map", CODES, "--model", bundle, "--frames", "8", "--device", "cpu", "--write", PARTS]
        return ["generate", *files, *how, "--ef", ef, "--out", out, "--overwrite"]

    killing.run_whole(words(place / "old", OLD_EF), said)
    seconds = killing.run_whole(words(place / "new", NEW_EF), said)
    old, new = identity(place / "old"), identity(place / "new")
    for point in range(points.count):
        here = place / f"{point}"
        out = here / "r"
        shutil.copytree(place / "old", out)
        killing.kill_at(words(out, NEW_EF), seconds * (point + 0.5) / points.count, said, tally, points.signal)
        found = identity(out)
        tally.old += found == old
        tally.new += found == new
        if found not in (old, new):
            tally.faults.append(f"point {point}: neither the old nor the new result stands")
        if point % points.chain == points.chain - 1:
            killing.run_whole(words(out, NEW_EF), said)
            if identity(out) != new:
                tally.faults.append(f"point {point}: run again, the result is another")
            if other := sorted({path.name for path in here.iterdir()} - {"r"}):
                tally.faults.append(f"point {point}: left behind: {', '.join(other)}")
        shutil.rmtree(here)
    return tally


def identity(folder: Path) -> str:
    """Return a hash of what a complete result says and shows; empty where there is none that is complete."""
    manifest = read_manifest(folder)
    if manifest is None or not all((folder / name).is_file() for name in manifest["files"]):
        return ""
    heart = read_heart(folder)
    digest = hashlib.sha256(heart.frames.tobytes())
    digest.update(json.dumps(heart.read_outs, sort_keys=True).encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class Resumable:
    """A command that goes on from where it was.

    Attributes:
        words: Of the command, by its output folder and whether it goes on.
        facts: What decides whether two of its folders hold the same results, by name.
        standing: Names of those that may not yet be there, but are never another than in the end.
    """

    words: Callable[[Path, bool], list[object]]
    facts: Callable[[Path], dict[str, str]]
    standing: Callable[[Path], dict[str, str]]


def kill_resumable(command: Resumable, place: Path, points: Points) -> Tally:
    """Kill a command again and again on its way to one result."""
    tally, said, whole = Tally(), place / "said.txt", place / "whole"
    seconds = killing.run_whole(command.words(whole, False), said)
    wanted, files = command.facts(whole), names_below(whole)
    dice = random.Random(len(wanted))
    for point in range(points.count):
        link = point % points.chain
        out = place / f"out{point // points.chain}"
        after_s = seconds * (link + dice.random()) / points.chain
        killing.kill_at(command.words(out, out.exists()), after_s, said, tally, points.signal)
        standing = command.standing(out)
        tally.new += len(standing)
        for name, found in standing.items():
            if wanted.get(name) != found:
                tally.faults.append(f"point {point}: {name} is half there, or another")
        if link == points.chain - 1 or point == points.count - 1:
            killing.run_whole(command.words(out, out.exists()), said)
            found_facts = command.facts(out)
            if differ := sorted(name for name in wanted | found_facts if wanted.get(name) != found_facts.get(name)):
                tally.faults.append(f"point {point}: resumed, these differ: {', '.join(differ[:5])}")
            if other := sorted(names_below(out) - files):
                tally.faults.append(f"point {point}: left behind: {', '.join(other[:5])}")
            shutil.rmtree(out)
    return tally


def names_below(folder: Path) -> set[str]:
    """Return the names of all files below a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def hashes(folder: Path, *patterns: str) -> dict[str, str]:
    """Return the hashes of files below a folder by name; hidden ones are not finished."""
    found = {path for pattern in patterns for path in folder.rglob(pattern) if path.is_file()}
    names = {path.relative_to(folder).as_posix(): path for path in found if path.name not in GROWING}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in names.items() if not any(part.startswith(".") for part in Path(name).parts)
    }  # fmt: skip


def batch(place: Path, bundle: Path) -> Resumable:
    """Return a batch of three cases in two workers."""
    patient, table = sample_patient(), place / "cases.csv"
    files = f'{patient.anchor},{patient.ecg},{patient.labels},"{CODES}"'
    rows = [f"{name},{files},{ef}" for name, ef in (("a", 40), ("b", 50), ("c", 60))]
    table.write_text("\n".join(["case,anchor,ecg,labels,label_map,ef_percent", *rows]) + "\n", encoding="utf-8")

    def words(out: Path, again: bool) -> list[object]:
        how = ["--model", bundle, "--frames", "8", "--device", "cpu", "--write", PARTS, "--workers", "2"]
        return ["batch", "--table", table, "--out", out, *how]

    def cases(out: Path) -> dict[str, str]:
        return {name: identity(out / name) for name in "abc" if (out / name).exists()}

    return Resumable(words, lambda out: cases(out) | hashes(out, "*.csv"), cases)


def synthesis(out: Path) -> list[object]:
    """Return the words of a small cohort with cines, made in two workers."""
    size = ["--subjects", "4", "--cines", "--frames", "6", "--spacing", "16,3"]
    return ["cohort", "synthesize", *size, "--seed", "500", "--out", out, "--workers", "2"]


def cohort(place: Path, bundle: Path) -> Resumable:
    """Return the synthesis of a cohort; each of its files takes its name when it is complete."""
    return Resumable(lambda out, again: synthesis(out), lambda out: hashes(out, "*"), lambda out: hashes(out, "*"))


def evaluate(place: Path, bundle: Path) -> Resumable:
    """Return the evaluation of the stand-in model on a cohort of four."""
    killing.run_whole(synthesis(place / "cohort"), place / "said.txt")

    def words(out: Path, again: bool) -> list[object]:
        how = ["--model", bundle, "--library", "0", "--protocol", "function", "--assessor", "none"]
        return ["evaluate", "--cohort", place / "cohort", "--out", out, *how]

    def facts(out: Path) -> dict[str, str]:
        metrics = json.loads((out / "metrics.json").read_text("utf-8")) if (out / "metrics.json").is_file() else {}
        numbers = {"numbers": json.dumps(metrics.get("protocols"), sort_keys=True)} if metrics else {}
        tables = hashes(out, "tables/*.csv")
        tables.pop("tables/provenance.csv", None)  # names the folder, and the seconds that it took
        return numbers | tables

    return Resumable(words, facts, facts)


def training(kind: str) -> Callable[[Path, Path], Resumable]:
    """Return the maker of one of the trainings, which go on from checkpoints."""

    def make(place: Path, bundle: Path) -> Resumable:
        def words(out: Path, again: bool) -> list[object]:
            how = ["--config", SETTINGS, "--device", "cpu", "--threads", "1", *(["--resume"] if again else [])]
            return ["train", kind, "--out", out, *how]

        return Resumable(words, lambda out: hashes(out, "*.safetensors", "*.npy", "*.npz"), lambda out: {})

    return make


def resumable(make: Callable[[Path, Path], Resumable]) -> Callable[[Path, Path, Points], Tally]:
    """Return what kills a resumable command."""
    return lambda place, bundle, points: kill_resumable(make(place, bundle), place, points)


COMMANDS: dict[str, Callable[[Path, Path, Points], Tally]] = {
    "generate": kill_generate, "batch": resumable(batch), "cohort": resumable(cohort), "evaluate": resumable(evaluate),
    **{kind: resumable(training(kind)) for kind in ("ecg", "teacher", "segmenter", "assessor", "flow")},
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
