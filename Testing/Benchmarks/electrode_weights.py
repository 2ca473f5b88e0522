"""Fit how much each clue counts in ``ecg.electrodes`` on synthetic patients, and recordings where there are any.

    python Testing/Benchmarks/electrode_weights.py --records 300 --recordings FOLDER

Prints, for each group of exchanges, the weights of logistic regression (the last is the constant), and how many
exchanges are suspected at the thresholds of the product and how many records with electrodes in their places.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / floor) for floor in ("COFGenerator", "COFTraining")]

from COFGeneratorLib.ecg import electrodes  # noqa: E402
from COFGeneratorLib.ecg.average_beat import MEAN_R_SAMPLE, align_beats  # noqa: E402
from COFGeneratorLib.ecg.conditioning import condition  # noqa: E402
from COFGeneratorLib.ecg.delineation import delineate  # noqa: E402
from COFGeneratorLib.ecg.detection import find_r_peaks  # noqa: E402
from COFGeneratorLib.ecg.readers import read_ecg  # noqa: E402
from COFGeneratorLib.ecg.record import EcgRecord  # noqa: E402
from COFGeneratorLib.errors import EcgError  # noqa: E402
from COFTrainingLib.phantom.electrocardiogram import synthesise_ecg  # noqa: E402
from COFTrainingLib.phantom.physiology import draw_physiology  # noqa: E402
from scipy.optimize import minimize  # noqa: E402
from scipy.special import expit  # noqa: E402

HARD = {"left arm and left leg", *(f"V{k} and V{k + 1}" for k in range(1, 6)), "V4 and V6"}
"""What cannot be told from another heart is not learnt from."""
REAL_COUNTS = 3.0


def waves_of(record: EcgRecord) -> tuple[np.ndarray | None, ...]:
    """Return P, QRS and T of a record's average beat."""
    beats = align_beats(condition(record.signal_mv, record.fs_hz), find_r_peaks(record))
    rr_ms = 1000.0 * float(np.median(np.diff(beats.r_peaks_s)))
    return electrodes.beat_waves(beats.mean_mv, delineate(beats.mean_mv, rr_ms, MEAN_R_SAMPLE, beats.noise_mv))


def fit(clues: np.ndarray, exchanged: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the weights of logistic regression with unit ridge, the constant last."""
    table = np.column_stack([clues, np.ones(len(clues))])

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        score = table @ weights
        ridge = np.append(weights[:-1], 0.0)
        value = (counts * (np.logaddexp(0.0, score) - exchanged * score)).sum() + 0.5 * (ridge**2).sum()
        return value, table.T @ (counts * (expit(score) - exchanged)) + ridge

    return minimize(loss, np.zeros(table.shape[1]), jac=True).x


def main() -> int:
    """Fit and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200)
    parser.add_argument("--recordings", type=Path)
    options = parser.parse_args()
    beats: list[tuple[tuple[np.ndarray | None, ...], float]] = []
    for seed in range(options.records):
        rng = np.random.default_rng([11, seed])
        beats.append((waves_of(synthesise_ecg(draw_physiology(rng), rng)[0]), 1.0))
    for path in sorted(options.recordings.rglob("*")) if options.recordings else []:
        alone = path.is_file() and path.suffix != ".dat" and not path.with_suffix(".hea").is_file()
        if alone or path.suffix == ".hea":
            try:
                beats.append((waves_of(read_ecg(path)), REAL_COUNTS))
            except EcgError as error:
                print(f"  {path.name}: {error}")
    known = electrodes.exchanges()
    for group in electrodes.WEIGHTS:
        members = [k for k, one in enumerate(known) if one.group == group]
        clues, exchanged, counts = [], [], []
        for waves, count in beats:
            clues += list(electrodes.clue_differences(waves)[members])
            exchanged += [0.0] * len(members)
            counts += [count] * len(members)
            for k in members:
                if known[k].words not in HARD:
                    made = np.linalg.inv(known[k].undo)
                    wrong = tuple(None if wave is None else made @ wave for wave in waves)
                    clues.append(electrodes.clue_differences(wrong)[k])
                    exchanged.append(1.0)
                    counts.append(count)
        weights = fit(np.array(clues), np.array(exchanged), np.array(counts))
        print(f"{group:6s} {np.round(weights, 2).tolist()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
