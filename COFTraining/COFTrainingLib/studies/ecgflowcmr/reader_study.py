"""A reader study (the paper's Turing test): shuffled real and synthetic clips without a hint, a key, scoring."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from COFGeneratorLib.errors import CohortError
from scipy.stats import binomtest

ANSWERS = "answers.csv"
REAL, SYNTHETIC = "real", "synthetic"
MS_A_FRAME = 40
SIZE_PX = 320


def make_kit(
    real: Sequence[np.ndarray], synthetic: Sequence[np.ndarray], out: Path, key: Path, seed: int, readers: int = 5
) -> int:
    """Write the clips and an empty answer sheet for each reader, and the key somewhere else.

    All clips are shown alike: same size, grey range, rate and number of frames; files are numbered at random and carry
    no metadata.

    Args:
        real, synthetic: Cines (T, H, W) uint8 of one size.
        out: Folder for the readers; new or empty.
        key: File of the key; not inside ``out``.
        seed: Of the order.
        readers: How many sheets.

    Returns:
        Number of clips.

    Raises:
        CohortError: If the key would lie with the clips, the folder is not empty, or the clips differ in shape.
    """
    out, key = Path(out), Path(key)
    if out.resolve() in key.resolve().parents:
        raise CohortError(f"The key must not lie with the clips; found {key} inside {out}. Keep it elsewhere.")
    if out.exists() and any(out.iterdir()):
        raise CohortError(f"A reader study needs an empty folder; found other files in {out}. Choose another.")
    clips = [(clip, REAL) for clip in real] + [(clip, SYNTHETIC) for clip in synthetic]
    if len({np.asarray(clip).shape for clip, _ in clips}) != 1:
        raise CohortError("All clips of a reader study need one shape, or it gives them away; found several.")
    order = np.random.default_rng([seed, 41]).permutation(len(clips))
    out.mkdir(parents=True, exist_ok=True)
    truth = {}
    for number, index in enumerate(order, start=1):
        clip, kind = clips[index]
        name = f"clip-{number:03d}.gif"
        _write(np.asarray(clip), out / name)
        truth[name] = kind
    for reader in range(1, readers + 1):
        with (out / f"reader-{reader}-{ANSWERS}").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["clip", "answer (real or synthetic)", "confidence (1-5)"])
            writer.writerows([name, "", ""] for name in truth)
    key.parent.mkdir(parents=True, exist_ok=True)
    key.write_text(json.dumps({"seed": seed, "clips": truth}, indent=1) + "\n", encoding="utf-8")
    return len(truth)


def score(key: Path, sheets: Sequence[Path]) -> dict[str, Any]:
    """Score answer sheets.

    Returns:
        For each sheet and for all: ``accuracy``, its 95 % Clopper–Pearson interval, ``p_chance`` (exact, two-sided
        against ½), ``sensitivity`` (synthetic called so) and ``specificity`` (real called so), and ``answered``.

    Raises:
        CohortError: If a sheet or the key cannot be read, or names clips that are not in the key.
    """
    try:
        truth = json.loads(Path(key).read_text(encoding="utf-8"))["clips"]
    except (OSError, ValueError, KeyError) as error:
        raise CohortError(f"The key of a reader study was expected in {key}; it does not read ({error}).") from error
    out: dict[str, Any] = {}
    pooled: list[tuple[str, str]] = []
    for sheet in sheets:
        answers = _answers(Path(sheet), truth)
        pooled += answers
        out[Path(sheet).stem] = _marks(answers)
    out["all readers"] = _marks(pooled)
    return out


def _answers(sheet: Path, truth: dict[str, str]) -> list[tuple[str, str]]:
    """Return (truth, answer) of each clip that was answered."""
    try:
        rows = list(csv.reader(sheet.read_text(encoding="utf-8-sig").splitlines()))[1:]
    except OSError as error:
        raise CohortError(f"An answer sheet was expected at {sheet}; it cannot be read ({error.strerror}).") from error
    found = []
    for row in rows:
        if len(row) < 2 or not row[1].strip():
            continue
        name, answer = row[0].strip(), row[1].strip().lower()
        if name not in truth or answer not in (REAL, SYNTHETIC):
            raise CohortError(
                f"Answers are real or synthetic, for clips of the key; found {answer!r} for {name!r} in {sheet.name}. "
                "Correct the sheet."
            )
        found.append((truth[name], answer))
    return found


def _marks(answers: list[tuple[str, str]]) -> dict[str, Any]:
    right = sum(true == answer for true, answer in answers)
    if not answers:
        return {"answered": 0}
    test = binomtest(right, len(answers), 0.5)
    interval = test.proportion_ci(0.95)

    def share(kind: str) -> float | None:
        of_kind = [answer == kind for true, answer in answers if true == kind]
        return float(np.mean(of_kind)) if of_kind else None

    return {
        "answered": len(answers),
        "accuracy": right / len(answers),
        "interval": [float(interval.low), float(interval.high)],
        "p_chance": float(test.pvalue),
        "sensitivity": share(SYNTHETIC),
        "specificity": share(REAL),
    }


def _write(clip: np.ndarray, path: Path) -> None:
    from PIL import Image

    frames = [Image.fromarray(frame).resize((SIZE_PX, SIZE_PX), Image.Resampling.BICUBIC) for frame in clip]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=MS_A_FRAME, loop=0, optimize=False)
