"""Kill commands with SIGKILL at points spread over their run: nothing lost, nothing half-written, nobody left behind.

    python Testing/Benchmarks/kill_anywhere.py [generate] [batch] [--points 20]

A small untrained model stands in for the real one. After each kill the folder must hold the old result or the new one;
no process of the command may live ten seconds later; run again, the command must end with the results of an
uninterrupted run and without anything hidden beside them. Exit code 1 where it does not.
"""

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "COFGenerator"), str(ROOT / "COFTraining"), str(ROOT / "Testing")]

from COFGeneratorLib.export import read_heart  # noqa: E402
from COFGeneratorLib.resources import sample_patient  # noqa: E402
from COFGeneratorLib.results.folder import read_manifest  # noqa: E402
from support.command_line import write_small_bundle  # noqa: E402

PARTS = "cine,labels,function"
CODES = "lv=1,myo=2,rv=3"
LONGEST_ALIVE_S = 10.0
OLD_EF, NEW_EF = "40", "60"


@dataclass
class Tally:
    """What was seen at the points of one command."""

    killed: int = 0
    ended: int = 0
    old: int = 0
    new: int = 0
    alive_s: float = 0.0
    faults: list[str] = field(default_factory=list)


def main() -> int:
    """Run the commands asked for; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="*", help="generate, batch (default: both)")
    parser.add_argument("--points", type=int, default=20, help="kills of each command (default 20)")
    arguments = parser.parse_args()
    faults = 0
    with tempfile.TemporaryDirectory(prefix="cof-kill-") as folder:
        bundle = write_small_bundle(Path(folder, "bundle"))
        for name in arguments.commands or COMMANDS:
            place = Path(folder, name)
            place.mkdir()
            tally = COMMANDS[name](place, bundle, arguments.points)
            print(
                f"{name}: {tally.killed} kills ({tally.ended} runs had ended before), old result {tally.old} times, "
                f"new {tally.new}; last process gone after {tally.alive_s:.1f} s; {len(tally.faults)} faults"
            )
            for fault in tally.faults:
                print(f"  {fault}")
            faults += len(tally.faults)
    return 1 if faults else 0


def kill_generate(place: Path, bundle: Path, points: int) -> Tally:
    """Kill the replacement of a result by another."""
    patient, tally = sample_patient(), Tally()

    def words(out: Path, ef: str) -> list[str]:
        files = ["--anchor", str(patient.anchor), "--ecg", str(patient.ecg), "--labels", str(patient.labels)]
        how = ["--label-map", CODES, "--model", str(bundle), "--frames", "8", "--device", "cpu", "--write", PARTS]
        return ["generate", *files, *how, "--ef", ef, "--out", str(out), "--overwrite"]

    run_whole(words(place / "old", OLD_EF))
    seconds = run_whole(words(place / "new", NEW_EF))
    old, new = identity(place / "old"), identity(place / "new")
    for point in range(points):
        here = place / f"{point}"
        out = here / "r"
        shutil.copytree(place / "old", out)
        kill_at(words(out, NEW_EF), seconds * (point + 0.5) / points, tally)
        found = identity(out)
        tally.old += found == old
        tally.new += found == new
        if found not in (old, new):
            tally.faults.append(f"point {point}: neither the old nor the new result stands")
        if point % 5 == 4:
            run_whole(words(out, NEW_EF))
            if identity(out) != new:
                tally.faults.append(f"point {point}: run again, the result is another")
            check_leftovers(here, {"r"}, point, tally)
        shutil.rmtree(here)
    return tally


def kill_batch(place: Path, bundle: Path, points: int) -> Tally:
    """Kill a batch of three cases in two workers."""
    patient, tally = sample_patient(), Tally()
    table = place / "cases.csv"
    files = f'{patient.anchor},{patient.ecg},{patient.labels},"{CODES}"'
    rows = [f"{name},{files},{ef}" for name, ef in (("a", 40), ("b", 50), ("c", 60))]
    table.write_text("\n".join(["case,anchor,ecg,labels,label_map,ef_percent", *rows]) + "\n", encoding="utf-8")

    def words(out: Path) -> list[str]:
        how = ["--model", str(bundle), "--frames", "8", "--device", "cpu", "--write", PARTS, "--workers", "2"]
        return ["batch", "--table", str(table), "--out", str(out), *how]

    seconds = run_whole(words(place / "whole"))
    wanted = {name: identity(place / "whole" / name) for name in "abc"}
    for point in range(points):
        out = place / f"{point}"
        kill_at(words(out), seconds * (point + 0.5) / points, tally)
        for name in "abc":
            if (out / name).exists() and identity(out / name) != wanted[name]:
                tally.faults.append(f"point {point}: case {name} is half there")
            tally.new += (out / name).exists()
        run_whole(words(out))
        if {name: identity(out / name) for name in "abc"} != wanted:
            tally.faults.append(f"point {point}: resumed, the results are others")
        check_leftovers(out, {"a", "b", "c", "summary.csv", "failures.csv"}, point, tally)
        shutil.rmtree(out)
    return tally


COMMANDS: dict[str, Callable[[Path, Path, int], Tally]] = {"generate": kill_generate, "batch": kill_batch}


def identity(folder: Path) -> str:
    """Return a hash of what a complete result says and shows; empty where there is none that is complete."""
    manifest = read_manifest(folder)
    if manifest is None or not all((folder / name).is_file() for name in manifest["files"]):
        return ""
    heart = read_heart(folder)
    digest = hashlib.sha256(heart.frames.tobytes())
    digest.update(json.dumps(heart.read_outs, sort_keys=True).encode())
    return digest.hexdigest()


def command(words: list[str]) -> subprocess.Popen:
    """Start a command in a session of its own, by which its processes are found."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path[:3]), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "COFGeneratorLib", *words], env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def run_whole(words: list[str]) -> float:
    """Run a command to its end; returns the seconds that it took."""
    begun = time.monotonic()
    process = command(words)
    _, said = process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"{words[0]} ended with {process.returncode}: {said}")
    return time.monotonic() - begun


def kill_at(words: list[str], seconds: float, tally: Tally) -> None:
    """Start a command, kill it after so many seconds, and see how long its processes live."""
    process = command(words)
    try:
        process.wait(seconds)
        tally.ended += 1
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        tally.killed += 1
    killed = time.monotonic()
    while alive := processes_of(process.pid):
        if time.monotonic() - killed > LONGEST_ALIVE_S:
            tally.faults.append(f"{len(alive)} processes lived {LONGEST_ALIVE_S:.0f} s after the kill")
            for pid in alive:
                os.kill(pid, signal.SIGKILL)
            break
        time.sleep(0.1)
    tally.alive_s = max(tally.alive_s, time.monotonic() - killed)
    process.communicate()


def processes_of(session: int) -> list[int]:
    """Return the living processes of a session (Linux)."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            state, _, _, number = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue
        if int(number) == session and state != "Z":
            found.append(int(entry.name))
    return found


def check_leftovers(folder: Path, wanted: set[str], point: int, tally: Tally) -> None:
    """Note what lies in a folder and should not."""
    other = sorted({path.name for path in folder.iterdir()} - wanted)
    if other:
        tally.faults.append(f"point {point}: left behind: {', '.join(other)}")


if __name__ == "__main__":
    sys.exit(main())
