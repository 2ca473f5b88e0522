"""Damaged inputs through every reader: images, labels, ECGs, bundles, job folders, results, cohorts, tables, settings.

    python Testing/Benchmarks/fuzz.py [--count 750] [--data FOLDER] [--only "dicom seg"] [--first 0] [--json FILE]

Inputs are damaged by their structure (``Testing/support/fuzzing``): fields, elements, cells, members; one in seven by
its bytes. ``--data`` adds real files of up to 1 MB. Each is read or refused in words. Prints outcomes and the worst
time and memory of each family; exit code 1 at a foreign error, more than 5 s of CPU or 500 MB over the start. What is
printed under "broke" is repeated by ``--only FAMILY --first NUMBER --count 1``; such finds belong into the tests.
"""

import argparse
import json
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "COFGenerator"), str(ROOT / "COFTraining"), str(ROOT / "Testing")]

from support.fuzzing import ecgs, folders, images  # noqa: E402
from support.fuzzing.family import Family  # noqa: E402
from support.fuzzing.limits import Outcome, measured  # noqa: E402

FAMILIES = {family.name: family for family in (*images.FAMILIES, *ecgs.FAMILIES, *folders.FAMILIES)}
LARGEST_REAL_BYTES = 1 << 20
SHOWN = 20
"""Numbers of finds that are printed."""


def main() -> int:
    """Run; 0 when nothing broke."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=750, help="inputs of each family (default 750)")
    parser.add_argument("--first", type=int, default=0, help="first number")
    parser.add_argument("--data", type=Path, help="folder of real files")
    parser.add_argument("--only", action="append", choices=sorted(FAMILIES), help="a family; may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="append the results, one family a line")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    total, broken = 0, False
    for name in options.only or FAMILIES:
        found = run(FAMILIES[name], range(options.first, options.first + options.count), options.data)
        total += options.count
        broken |= bool(found["broke"])
        print(line(found), flush=True)
        if options.json:
            with options.json.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(found) + "\n")
    print(f"{total:,} inputs")
    return int(broken)


def run(family: Family, numbers: range, data: Path | None) -> dict:
    """Read the inputs of a family and return what came of them."""
    outcomes: Counter = Counter()
    slowest, largest = (0.0, -1), (0.0, -1)
    broke: list[tuple[int, str]] = []
    with tempfile.TemporaryDirectory(prefix="cof-fuzz-") as scratch:
        made = Path(scratch, "made")
        made.mkdir()
        sound = list(family.make(made))
        real = real_files(family, data)
        for source in (*sound, *real):  # libraries load; what is sound must be read, or its damage would say nothing
            outcome = measured(partial(family.read, source, 1), family.refusal)
            if outcome.foreign or (source in sound and outcome.said != "read"):
                broke.append((-1, f"{outcome.said} at the sound {source.name}: {outcome.message[:200]}"))
        sources = [*sound * max(len(real) // len(sound), 1), *real]  # half of them made here: small, and of all kinds
        for number in numbers:
            with tempfile.TemporaryDirectory(dir=scratch) as inner:
                path = family.damaged(sources[number % len(sources)], Path(inner), number)
                outcome = measured(partial(work, family, path, number), family.refusal)
            outcomes["read" if outcome.said == "read" else "refused"] += not outcome.foreign
            slowest, largest = max(slowest, (outcome.seconds, number)), max(largest, (outcome.more_mb, number))
            if outcome.foreign or outcome.beyond:
                broke.append((number, why(outcome)))
    return {
        "family": family.name, "files": len(sound) + len(real), "inputs": len(numbers), **outcomes,
        "slowest_s": slowest[0], "slowest": slowest[1], "memory_mb": largest[0], "largest": largest[1], "broke": broke,
    }  # fmt: skip


def work(family: Family, path: Path, number: int) -> None:
    """Read one input; where one input alone is run, what it raises is shown."""
    try:
        family.read(path, number)
    except family.refusal:
        raise
    except Exception:
        if "--count" in sys.argv and sys.argv[sys.argv.index("--count") + 1] == "1":
            traceback.print_exc()
        raise


def why(outcome: Outcome) -> str:
    """Return what was wrong, in words."""
    if outcome.foreign:
        return outcome.said
    return f"{outcome.seconds:.1f} s, {outcome.more_mb:.0f} MB"


def real_files(family: Family, data: Path | None) -> list[Path]:
    """Return the real files of a family in a folder of data."""
    if data is None or not family.endings:
        return []
    room = "ecg" if family.name.startswith("ecg") else "mri"
    found = (path for path in sorted(data.rglob("*")) if path.name.endswith(family.endings) and path.is_file())
    return [path for path in found if room in path.parts and path.stat().st_size <= LARGEST_REAL_BYTES]


def line(found: dict) -> str:
    """Return the results of a family as one line."""
    said = (
        f"{found['family']:15s} {found['files']:3d} files {found['inputs']:5d} inputs  read {found.get('read', 0):5d}  "
        f"refused {found.get('refused', 0):5d}  slowest {found['slowest_s']:.2f} s (number {found['slowest']})  "
        f"memory +{found['memory_mb']:.0f} MB (number {found['largest']})"
    )
    return said + (f"  broke {found['broke'][:SHOWN]}" if found["broke"] else "")


if __name__ == "__main__":
    sys.exit(main())
