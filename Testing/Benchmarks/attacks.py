"""Hostile files through their readers: what is said, and the worst time and memory of each family.

    python Testing/Benchmarks/attacks.py --data FOLDER [--write Resources/Docs/security.md]

Reads the files of ``FOLDER/attacks`` and others of the same kinds that are made here, larger where a kind grows: bombs,
claims, patterns, tables, names. Each must be refused in words (exit code 2 of the command line), within 5 s of CPU and
500 MB above the file's own size. Exit code 1 where one is not. ``--write`` puts the table into a document.
"""

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "COFGenerator"), str(ROOT / "COFTraining"), str(ROOT / "Testing")]

from COFGeneratorLib.anatomy import read_sax  # noqa: E402
from COFGeneratorLib.ecg import analyse_ecg, read_ecg  # noqa: E402
from COFGeneratorLib.errors import ChainOfFlowError  # noqa: E402
from support.attacks import MADE  # noqa: E402
from support.fuzzing.limits import MAX_MB, MAX_S, measured  # noqa: E402

BEGIN, END = "<!-- attacks: begin -->", "<!-- attacks: end -->"
HEAD = "| family | files | slowest, s | most memory above the file, MB |\n|---|---|---|---|"
IMAGES = (".zip", ".nrrd", ".mha", ".nii", ".mrb", ".mrml", ".gz")
FAMILIES = {
    "zip": "archives", "redos": "patterns and texts", "scp": "SCP-ECG", "mat": "MATLAB", "wfdb": "WFDB",
    "dicom": "DICOM", "edf": "EDF",
}  # fmt: skip


def main() -> int:
    """Print; 0 when each was refused within the limits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of the cases, with attacks/ in it")
    parser.add_argument("--write", type=Path, metavar="DOCUMENT")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    worst: dict[str, list[tuple[float, float]]] = {}
    bad = 0
    with tempfile.TemporaryDirectory() as scratch:
        given = sorted((options.data / "attacks").iterdir()) if options.data else []
        made = [make(Path(scratch)) for make in MADE]
        for path in [*given, *made]:
            for read in readers(path):
                outcome = measured(partial(read, path), ChainOfFlowError)
                more_mb = max(outcome.more_mb - path.stat().st_size / 1e6, 0.0)
                good = outcome.said == "refused" and outcome.seconds <= MAX_S and more_mb <= MAX_MB
                bad += not good
                worst.setdefault(family(path), []).append((outcome.seconds, more_mb))
                print(
                    f"{'ok ' if good else 'BAD'} {path.name:32s} {outcome.seconds:6.2f} s {more_mb:6.0f} MB  "
                    f"{outcome.said}: {outcome.message[:160]}",
                    flush=True,
                )
    rows = [
        f"| {name} | {len(found)} | {max(s for s, _ in found):.1f} | {max(mb for _, mb in found):.0f} |"
        for name, found in sorted(worst.items())
    ]
    text = HEAD + "\n" + "\n".join(rows)
    print(f"\n{text}")
    if options.write:
        before, _, rest = options.write.read_text(encoding="utf-8").partition(BEGIN)
        _, closed, after = rest.partition(END)
        if not closed:
            print(f"{options.write} has no marks {BEGIN} … {END}.", file=sys.stderr)
            return 2
        options.write.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")
    return int(bool(bad))


def readers(path: Path) -> list[Callable[[Path], object]]:
    """Return who reads a file: a DICOM file may be an image or an ECG."""
    if path.suffix == ".dcm":
        return [read_sax, heard]
    return [read_sax if path.name.endswith(IMAGES) else heard]


def heard(path: Path) -> object:
    """Read an ECG and analyse it, as every command does."""
    return analyse_ecg(read_ecg(path))


def family(path: Path) -> str:
    """Return the family of a hostile file, by its name."""
    return FAMILIES.get(path.name.split("_")[0], "claims of image headers")


if __name__ == "__main__":
    sys.exit(main())
