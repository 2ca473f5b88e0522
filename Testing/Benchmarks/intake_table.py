"""Every file of a folder of recordings as the product reads it, as Markdown tables.

    python Testing/Benchmarks/intake_table.py --data FOLDER [--write Resources/Docs/intake.md]

The folder has ``ecg/`` and ``mri/``. Files that belong together (a WFDB header and its samples, the DICOM files of a
folder) share a row. Heart rates are compared with what the files themselves state. Exit code 1 where a file cannot be
read, or a rate differs by more than 2 beats a minute. ``--write`` puts the tables between the marks of a document.
"""

import argparse
import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "COFGenerator"))

from COFGeneratorLib.anatomy.readers import read_sax  # noqa: E402
from COFGeneratorLib.anatomy.readers.payload import read_frames  # noqa: E402
from COFGeneratorLib.anatomy.readers.volume import open_volume  # noqa: E402
from COFGeneratorLib.ecg import analyse_ecg, read_ecg  # noqa: E402
from COFGeneratorLib.ecg.summary import summary  # noqa: E402
from COFGeneratorLib.errors import ChainOfFlowError  # noqa: E402

MOST_APART_BPM = 2.0
IMAGES = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", ".mrb", ".mrml", ".zip")
BEGIN, END = "<!-- tables: begin -->", "<!-- tables: end -->"
ECG_HEAD = (
    "| file | format | leads | Hz | s | HR found | HR stated | R–R of the cycle, ms | rhythm | quality |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)
MRI_HEAD = (
    "| file | what it is | columns × rows × slices | mm | frames | frame time, ms | R–R, ms | remarks |\n"
    "|---|---|---|---|---|---|---|---|"
)


def ecg_rows(folder: Path) -> Iterator[tuple[str, bool]]:
    """Yield a row for each recording, and whether it is as it should be."""
    for path in sorted(folder.iterdir(), key=lambda p: p.name.lower()):
        if path.suffix in (".dat", ".mat") and path.with_suffix(".hea").is_file():
            continue
        beside = [f"`{p.suffix}`" for p in (path.with_suffix(".dat"), path.with_suffix(".mat")) if p.is_file()]
        name = f"`{path.name}`" + (f" + {beside[0]}" if path.suffix == ".hea" and beside else "")
        try:
            record = read_ecg(path)
            cycle = analyse_ecg(record)
        except ChainOfFlowError as error:
            yield f"| {name} | not read: {error} |" + " |" * 8, False
            continue
        found = summary(record, cycle)
        stated = record.stated.get("hr_bpm", 60000.0 / record.stated.get("rr_ms", np.nan))
        derived = any("derived" in note for note in record.warnings)
        unit = found["leads"]
        yield (
            f"| {name} | {found['format']} | {'8 → 12' if derived else len(unit)} | {found['fs_hz']:g} | "
            f"{found['duration_s']:.1f} | {found['hr_bpm']:.0f} | {'–' if np.isnan(stated) else f'{stated:.0f}'} | "
            f"{found['rr_ms']:.0f} | {found['rhythm']} | {found['quality']:.2f} |",
            bool(np.isnan(stated) or abs(found["hr_bpm"] - stated) <= MOST_APART_BPM),
        )


def mri_rows(folder: Path) -> Iterator[tuple[str, bool]]:
    """Yield a row for each image, label map and DICOM folder; other files are listed as what they are not."""
    for path in sorted(folder.rglob("*"), key=lambda p: str(p).lower()):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() and any(path.glob("*.dcm")):
            yield _image_row(path, f"`{name}/*.dcm` ({len(list(path.glob('*.dcm')))} files)")
        elif path.is_file() and path.name.endswith(IMAGES):
            yield _label_row(path, f"`{name}`") or _image_row(path, f"`{name}`")


def _image_row(path: Path, name: str) -> tuple[str, bool]:
    try:
        stack = read_sax(path)
    except ChainOfFlowError as error:
        return f"| {name} | not read: {error} |" + " |" * 6, False
    depth, height, width = stack.shape
    times = np.array(stack.frame_times_ms)
    step = f"{np.median(np.diff(times)):.1f}" if times.size > 1 else "–"
    interval = f"{times[-1] - times[0] + np.median(np.diff(times)):.0f}" if times.size > 3 else "–"
    kind = "DICOM" if path.is_dir() else open_volume(path)[1].format
    frames = _frames(path, times)
    return (
        f"| {name} | {kind}, {'cine' if frames > 1 else 'volume'} | {width} × {height} × {depth} | "
        f"{_spacing(stack.spacing_mm)} | {frames} | {step} | {interval} | {_remarks(stack.warnings)} |",
        True,
    )


def _label_row(path: Path, name: str) -> tuple[str, bool] | None:
    """Return the row of a label map, None for an image."""
    try:
        _, header = open_volume(path)
        numbers = read_frames(header, None)
    except ChainOfFlowError:
        return None
    if (numbers != np.round(numbers)).any() or len(codes := np.unique(numbers)) > 8:
        return None
    depth, height, width = header.shape
    spacing = np.linalg.norm(header.ijk_to_ras[:3, :3], axis=0)[::-1]
    shown = ", ".join(f"{int(code)}" for code in codes if code)
    return (
        f"| {name} | {header.format}, labels {shown} | {width} × {height} × {depth} | {_spacing(spacing)} | "
        f"{header.n_frames} | – | – | {_remarks(header.warnings)} |",
        True,
    )


def _frames(path: Path, times: np.ndarray) -> int:
    return max(times.size, 1) if path.is_dir() else open_volume(path)[1].n_frames


def _spacing(kji_mm: np.ndarray) -> str:
    return " × ".join(f"{value:.4g}" for value in kji_mm[::-1])


def _remarks(notes: tuple[str, ...]) -> str:
    return " ".join(note.split(";")[0].rstrip(".") + "." for note in notes) or "–"


def tables(data: Path) -> tuple[str, list[str]]:
    """Return both tables and the rows that are not as they should be."""
    parts, bad = [], []
    for title, head, rows in (("ECG", ECG_HEAD, ecg_rows(data / "ecg")), ("MRI", MRI_HEAD, mri_rows(data / "mri"))):
        lines = []
        for row, good in rows:
            lines.append(row)
            if not good:
                bad.append(row)
        parts.append(f"### {title}\n\n{head}\n" + "\n".join(lines))
    return "\n\n".join(parts), bad


def main() -> int:
    """Print; 0 when everything was read and every stated heart rate was met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--write", type=Path, metavar="DOCUMENT")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    text, bad = tables(options.data)
    print(text)
    for row in bad:
        print(f"\nnot as it should be: {row}", file=sys.stderr)
    if options.write:
        document = options.write.read_text(encoding="utf-8")
        before, found, rest = document.partition(BEGIN)
        _, closed, after = rest.partition(END)
        if not found or not closed:
            print(f"{options.write} has no marks {BEGIN} … {END}.", file=sys.stderr)
            return 2
        options.write.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
