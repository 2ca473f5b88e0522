"""Analysed synthetic ECGs with the latents behind them: what the ECG encoder learns from."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from COFGeneratorLib.ecg.beats import analyse_ecg, cycle_from_peaks
from COFGeneratorLib.ecg.cycle import EcgCycle
from COFGeneratorLib.ecg.pacing import find_spikes, without_spikes
from COFGeneratorLib.ecg.record import EcgRecord
from COFGeneratorLib.errors import EcgError
from COFGeneratorLib.generator.networks.ecg_encoder import (
    CONDUCTIONS,
    MISHAPS,
    READING_UNITS,
    TERRITORIES,
    SingleBeats,
    single_beats,
)
from COFGeneratorLib.jobs.workers import spread
from safetensors.torch import load_file, save_file

from COFTrainingLib.phantom.electrocardiogram import synthesise_ecg
from COFTrainingLib.phantom.physiology import Physiology, draw_physiology
from COFTrainingLib.phantom.prevalence import NATURAL, Prevalence

logger = logging.getLogger(__name__)

OVERSAMPLED = Prevalence(
    infarct=0.28, bundle_branch_block=0.20, atrial_fibrillation=0.07, hypertrophy=0.16, cardiomyopathy=0.22,
    rv_load=0.14, tachycardia=0.10, end_stage=0.4,
)  # fmt: skip
"""What training draws half of its records with; the other half is natural, so that a normal ECG keeps its meaning."""
MISHAP_SHARE = 0.14
"""Of the training's records, how many are unfit to tell of the heart."""
RATES_HZ = (250.0, 400.0, 500.0, 500.0, 500.0, 1000.0)
CHUNK = 250
TARGETS = (*READING_UNITS, "territory", "conduction", "mishap", "natural")
"""``natural`` is 1 for records drawn at natural prevalence."""


@dataclass(frozen=True)
class EcgCohort:
    """Average beats (N, 12, 256) mV float32, scalars (N, 12) in raw units, targets by name, each (N,).

    ``single`` holds single beats in half precision, for an encoder that reads them.
    """

    beat_mv: torch.Tensor
    scalars: torch.Tensor
    targets: dict[str, torch.Tensor]
    single: SingleBeats | None = None

    def __len__(self) -> int:
        return len(self.beat_mv)

    def save(self, path: Path | str) -> None:
        """Write as safetensors; beats at half precision (0.1 % of a voltage)."""
        tensors = {"beat_mv": self.beat_mv.half().contiguous(), "scalars": self.scalars}
        if self.single is not None:
            tensors |= {f"single.{name}": value.contiguous() for name, value in self.single._asdict().items()}
        save_file(tensors | {f"target.{name}": value for name, value in self.targets.items()}, path)

    @classmethod
    def load(cls, path: Path | str) -> "EcgCohort":
        """Read what :meth:`save` wrote."""
        tensors = load_file(path)
        targets = {name: tensors[f"target.{name}"] for name in TARGETS}
        single = None
        if "single.mv" in tensors:
            single = SingleBeats(*(tensors[f"single.{name}"] for name in SingleBeats._fields))
        return cls(tensors["beat_mv"].float(), tensors["scalars"], targets, single)

    def rows(self, index: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return a batch by name: ``beat_mv``, ``scalars``, the targets, and single beats as ``single_…``."""
        batch = {"beat_mv": self.beat_mv[index], "scalars": self.scalars[index]}
        batch |= {name: value[index] for name, value in self.targets.items()}
        if self.single is not None:
            batch |= {f"single_{name}": value[index] for name, value in self.single._asdict().items()}
        return batch


def targets_of(physiology: Physiology, mishap: str = "", natural: bool = True) -> tuple[float, ...]:
    """Return the training targets in the order of ``TARGETS``."""
    values: dict[str, Any] = {name: getattr(physiology, name, None) for name in READING_UNITS}
    values["t_es_over_rr"] = physiology.t_es_ms / physiology.rr_ms
    values["territory"] = TERRITORIES.index(physiology.infarct_territory)
    values["conduction"] = CONDUCTIONS.index(physiology.conduction)
    values["mishap"], values["natural"] = MISHAPS.index(mishap), natural
    return tuple(float(values[name]) for name in TARGETS)


def synthesise_cohort(
    count: int,
    seed: int,
    prevalence: Prevalence = NATURAL,
    *,
    mishaps: float = 0.0,
    beats: int = 0,
    workers: int = 1,
    detect: bool = False,
) -> EcgCohort:
    """Synthesise and analyse ECGs; record i depends on the seed and i alone, whatever the number of workers.

    Args:
        count: Records.
        seed: Of the cohort.
        prevalence: How often findings are drawn, in every other record; the rest is natural.
        mishaps: Share of the records with one of ``MISHAPS``.
        beats: Single beats to keep of each record.
        workers: Processes.
        detect: Find the R peaks as for a user's record; else those of the synthesis are used (ten times faster).
    """
    firsts = range(0, count, CHUNK)
    jobs = [(seed, first, min(first + CHUNK, count), prevalence, mishaps, beats, detect) for first in firsts]
    parts = list(spread(_chunk, jobs, workers=workers, ordered=True))
    mean, scalars, targets, *single = (
        np.concatenate([part[i] for part in parts]) for i in range(6 if beats else 3)
    )  # fmt: skip
    columns = dict(
        zip(TARGETS, [column.clone() for column in torch.from_numpy(targets).float().unbind(1)], strict=True)
    )
    kept = SingleBeats(*(torch.from_numpy(part) for part in single)) if single else None
    return EcgCohort(torch.from_numpy(mean).float(), torch.from_numpy(scalars), columns, kept)


def _chunk(job: tuple[int, int, int, Prevalence, float, int, bool]) -> tuple[np.ndarray, ...]:
    seed, first, last, prevalence, mishaps, count, detect = job
    mean, scalars, targets, single = [], [], [], []
    for index in range(first, last):
        rng = np.random.default_rng([seed, index])
        natural = index % 2 == 0
        physiology = draw_physiology(rng, prevalence=NATURAL if natural else prevalence)
        mishap = str(rng.choice(MISHAPS[1:])) if rng.random() < mishaps else ""
        try:
            cycle = read_record(physiology, rng, mishap=mishap, detect=detect)
        except EcgError as error:
            logger.warning("Synthetic record %d of seed %d is left out: %s", index, seed, error)
            continue
        mean.append(cycle.beat_mv.astype(np.float16))
        if count:
            single.append(single_beats([cycle], count))
        scalars.append(cycle.scalars())
        targets.append(targets_of(physiology, mishap, natural))
    parts = [torch.cat(column).numpy() for column in zip(*single, strict=True)]
    if parts:
        parts[0] = parts[0].astype(np.float16)
    return np.stack(mean), np.stack(scalars), np.array(targets), *parts


def read_record(
    physiology: Physiology, rng: np.random.Generator, *, mishap: str = "", detect: bool = False
) -> EcgCycle:
    """Synthesise one record as recorders differ, and analyse it; arguments as for :func:`synthesise_cohort`.

    Raises:
        EcgError: If the record cannot be read.
    """
    fs_hz = float(rng.choice(RATES_HZ))
    noise = float(np.exp(0.4 * rng.standard_normal()))
    record, peaks = synthesise_ecg(physiology, rng, fs_hz=fs_hz, noise=noise, mishap=mishap)
    jitter = 0.008 * fs_hz * rng.standard_normal(len(peaks))
    if detect:
        return analyse_ecg(record)
    return cycle_from_peaks(_without_spikes(record) if mishap == "paced" else record, peaks + jitter)


def _without_spikes(record: EcgRecord) -> EcgRecord:
    """Bridge pacing spikes as ``analyse_ecg`` does."""
    spikes = find_spikes(record.signal_mv, record.fs_hz)
    return replace(record, signal_mv=without_spikes(record.signal_mv, record.fs_hz, spikes)) if len(spikes) else record
