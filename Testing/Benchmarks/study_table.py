"""The acquisitions that are found in a whole study around a recorded cine, as a Markdown table.

    python Testing/Benchmarks/study_table.py --cine FILE [--write Resources/Docs/intake.md]

The study is that of ``Testing/support/study.py``. Exit code 1 where a voxel of the cine that is read differs from the
recorded one. ``--write`` puts the table between the marks of a document.
"""

import argparse
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "COFGenerator"), str(ROOT / "Testing")]

from COFGeneratorLib.anatomy import read_cine  # noqa: E402
from support.dicom_writer import save_dicom  # noqa: E402
from support.study import study  # noqa: E402

BEGIN, END = "<!-- study: begin -->", "<!-- study: end -->"
HEAD = "| acquisition | what becomes of it |\n|---|---|"


def table(told: str) -> str:
    """Return what a reader says of the acquisitions of a study as a table."""
    read, left_out = told.rstrip(".").split(". Left out: ")
    rows = [(read.removeprefix("Read: "), "**read**")]
    for part in left_out.split("; series "):
        name, _, why = part.partition("): ")
        rows.append((f"series {name.removeprefix('series ')})", why))
    return HEAD + "\n" + "\n".join(f"| {name} | {why} |" for name, why in rows)


def main() -> int:
    """Print; 0 when the cine is the recorded one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cine", type=Path, required=True)
    parser.add_argument("--write", type=Path, metavar="DOCUMENT")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    recorded = read_cine(options.cine)
    with tempfile.TemporaryDirectory() as scratch:
        stack = read_cine(save_dicom(Path(scratch, "study"), list(study(options.cine))))
    text = table(next(said for said in stack.warnings if said.startswith("Read: ")))
    changed = int((stack.frames != recorded.frames).sum()) if stack.frames.shape == recorded.frames.shape else -1
    print(text)
    print(f"\n{changed} of {recorded.frames.size:,} voxels of the cine differ from the recorded ones")
    if options.write:
        document = options.write.read_text(encoding="utf-8")
        before, _, rest = document.partition(BEGIN)
        _, closed, after = rest.partition(END)
        if not closed:
            print(f"{options.write} has no marks {BEGIN} … {END}.", file=sys.stderr)
            return 2
        options.write.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")
    return int(changed != 0 or not np.allclose(stack.ijk_to_ras, recorded.ijk_to_ras, atol=1e-3))


if __name__ == "__main__":
    sys.exit(main())
