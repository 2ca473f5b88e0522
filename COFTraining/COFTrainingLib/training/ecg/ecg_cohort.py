"""Analysed synthetic ECGs with the latents behind them: what the ECG encoder learns from."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from COFGeneratorLib.ecg.beats import analyse_ecg, cycle_from_peaks
from COFGeneratorLib.errors import EcgError
from COFGeneratorLib.generator.networks.ecg_encoder import CONDUCTIONS, READING_UNITS, TERRITORIES
from COFGeneratorLib.jobs.workers import spread
from safetensors.torch import load_file, save_file

from COFTrainingLib.phantom.electrocardiogram import synthesise_ecg
from COFTrainingLib.phantom.physiology import NATURAL, Physiology, Prevalence, draw_physiology

logger = logging.getLogger(__name__)

OVERSAMPLED = Prevalence(infarct=0.40, bundle_branch_block=0.22, atrial_fibrillation=0.08, hypertrophy=0.15)
RATES_HZ = (250.0, 400.0, 500.0, 500.0, 500.0, 1000.0)
CHUNK = 250
TARGETS = (*READING_UNITS, "territory", "conduction")


@dataclass(frozen=True)
class EcgCohort:
    """Average beats (N, 12, 256) mV float32, scalars (N, 12) in raw units, targets by name, each (N,)."""

    beat_mv: torch.Tensor
    scalars: torch.Tensor
    targets: dict[str, torch.Tensor]

    def __len__(self) -> int:
        return len(self.beat_mv)

    def save(self, path: Path | str) -> None:
        """Write as safetensors; beats at half precision (0.1 % of a voltage)."""
        tensors = {"beat_mv": self.beat_mv.half().contiguous(), "scalars": self.scalars}
        save_file(tensors | {f"target.{name}": value for name, value in self.targets.items()}, path)

    @classmethod
    def load(cls, path: Path | str) -> "EcgCohort":
        """Read what :meth:`save` wrote."""
        tensors = load_file(path)
        targets = {name: tensors[f"target.{name}"] for name in TARGETS}
        return cls(tensors["beat_mv"].float(), tensors["scalars"], targets)


def targets_of(physiology: Physiology) -> tuple[float, ...]:
    """Return the training targets in the order of ``TARGETS``."""
    values: dict[str, Any] = {name: getattr(physiology, name, None) for name in READING_UNITS}
    values["t_es_over_rr"] = physiology.t_es_ms / physiology.rr_ms
    values["territory"] = TERRITORIES.index(physiology.infarct_territory)
    values["conduction"] = CONDUCTIONS.index(physiology.conduction)
    return tuple(float(values[name]) for name in TARGETS)


def synthesise_cohort(
    count: int, seed: int, prevalence: Prevalence = NATURAL, *, workers: int = 1, detect: bool = False
) -> EcgCohort:
    """Synthesise and analyse ECGs; record i depends on the seed and i alone, whatever the number of workers.

    Args:
        count: Records.
        seed: Of the cohort.
        prevalence: How often findings are drawn.
        workers: Processes.
        detect: Find the R peaks as for a user's record; else those of the synthesis are used (ten times faster).
    """
    jobs = [(seed, first, min(first + CHUNK, count), prevalence, detect) for first in range(0, count, CHUNK)]
    parts = list(spread(_chunk, jobs, workers=workers, ordered=True))
    beats, scalars, targets = (np.concatenate([part[i] for part in parts]) for i in range(3))
    columns = dict(
        zip(TARGETS, [column.clone() for column in torch.from_numpy(targets).float().unbind(1)], strict=True)
    )
    return EcgCohort(torch.from_numpy(beats).float(), torch.from_numpy(scalars), columns)


def _chunk(job: tuple[int, int, int, Prevalence, bool]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    seed, first, last, prevalence, detect = job
    beats, scalars, targets = [], [], []
    for index in range(first, last):
        rng = np.random.default_rng([seed, index])
        physiology = draw_physiology(rng, prevalence=prevalence)
        fs_hz = float(rng.choice(RATES_HZ))
        noise = float(np.exp(0.4 * rng.standard_normal()))
        record, peaks = synthesise_ecg(physiology, rng, fs_hz=fs_hz, noise=noise)
        try:
            if detect:
                cycle = analyse_ecg(record)
            else:
                cycle = cycle_from_peaks(record, peaks + 0.008 * fs_hz * rng.standard_normal(len(peaks)))
        except EcgError as error:
            logger.warning("Synthetic record %d of seed %d is left out: %s", index, seed, error)
            continue
        beats.append(cycle.beat_mv.astype(np.float16))
        scalars.append(cycle.scalars())
        targets.append(targets_of(physiology))
    return np.stack(beats), np.stack(scalars), np.array(targets)
