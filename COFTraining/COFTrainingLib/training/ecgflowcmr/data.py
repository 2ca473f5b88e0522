"""What the stages learn from: ECGs with their phase, cines of one plane with labels."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from COFGeneratorLib.ecg.record import EcgRecord
from COFGeneratorLib.ecgflowcmr.pa_mae import TOKEN_SAMPLES, phase_labels, prepare_record
from COFGeneratorLib.errors import EcgError, TrainingError
from COFGeneratorLib.jobs.workers import spread
from COFGeneratorLib.weights import save_exact
from safetensors.torch import load_file

from COFTrainingLib.phantom.electrocardiogram import synthesise_ecg
from COFTrainingLib.phantom.physiology import Physiology, draw_physiology
from COFTrainingLib.phantom.planes import render_plane
from COFTrainingLib.phantom.prevalence import ENRICHED, Prevalence
from COFTrainingLib.phantom.subject import draw_subject
from COFTrainingLib.training.ecgflowcmr.settings import DataSettings
from COFTrainingLib.training.loop.loop import Progress

logger = logging.getLogger(__name__)

SAMPLES = 5000
TOKENS = SAMPLES // TOKEN_SAMPLES
RHYTHMS = Prevalence(infarct=0.35, bundle_branch_block=0.22, atrial_fibrillation=0.20, hypertrophy=0.12)
"""For PA-MAE's own records: irregular rhythms often enough to learn their phase."""
PREMATURE = 0.25
RATES_HZ = (250.0, 500.0, 500.0, 500.0, 1000.0)
CHUNK = 25
Job = tuple[list[int], DataSettings, bool]
"""Seeds of phantoms, their settings, and whether cines are wanted."""
PhantomEcg = tuple[np.ndarray, np.ndarray, np.ndarray, EcgRecord, np.ndarray]
Part = dict[str, np.ndarray]
"""Arrays of some examples, by the fields of ``Examples``."""
TRUTHS = ("ef", "t_es_over_rr", "rr_ms", "lbbb", "infarct_extent", "hypertrophy", "atrial_fibrillation", "qrsd_ms")


@dataclass(frozen=True)
class Examples:
    """Examples in memory; ``clips`` and ``labels`` are None for ECGs alone.

    Attributes:
        signals: (N, 12, 5000) float16, see ``pa_mae.prepare_record``.
        phase, known: (N, 2, 625) float16 and (N, 625) uint8, see ``pa_mae.phase_labels``.
        owner: (N,) which subject (and clip) each ECG belongs to.
        clips, labels: (M, T, H, W) uint8.
        truths: (M, 8) float32, what is true of each owner, in the order of ``TRUTHS``; NaN where not known.
        seeds: (M,) of the phantoms, or indices.
    """

    signals: torch.Tensor
    phase: torch.Tensor
    known: torch.Tensor
    owner: torch.Tensor
    clips: torch.Tensor | None = None
    labels: torch.Tensor | None = None
    truths: torch.Tensor | None = None
    seeds: torch.Tensor | None = None

    def cines(self) -> torch.Tensor:
        """Return the clips.

        Raises:
            TrainingError: If these are ECGs alone.
        """
        if self.clips is None:
            raise TrainingError("This stage learns from cines; found ECGs alone. Give a cohort with cines.")
        return self.clips

    def marked(self) -> torch.Tensor:
        """Return the labels of the clips.

        Raises:
            TrainingError: If there are none.
        """
        if self.labels is None:
            raise TrainingError(
                "The plane segmenter learns from labels; this cohort's cines have none. Leave the stage out: cines are "
                "then generated without read-outs."
            )
        return self.labels

    def truths_by_ecg(self) -> torch.Tensor:
        """Return what is true of the subject of every ECG, (N, 8) in the order of ``TRUTHS``; NaN where not known."""
        if self.truths is None:
            return torch.full((len(self.signals), len(TRUTHS)), torch.nan)
        return self.truths[self.owner]

    def save(self, path: Path) -> None:
        """Write as safetensors, complete or not at all."""
        save_exact({name: value for name, value in vars(self).items() if value is not None}, path)

    @classmethod
    def load(cls, path: Path) -> "Examples":
        """Read what ``save`` wrote."""
        return cls(**load_file(path))


def make_clips(first: int, count: int, data: DataSettings, workers: int = 1, told: Progress | None = None) -> Examples:
    """Render phantoms ``first`` … with their ECGs; example i depends on its seed alone."""
    jobs = [(list(range(at, min(at + CHUNK, first + count))), data, True) for at in range(first, first + count, CHUNK)]
    return _made(jobs, workers, told)


def make_records(
    first: int, count: int, data: DataSettings, workers: int = 1, told: Progress | None = None
) -> Examples:
    """Synthesise ECGs without images, irregular rhythms oversampled."""
    jobs = [(list(range(at, min(at + CHUNK, first + count))), data, False) for at in range(first, first + count, CHUNK)]
    return _made(jobs, workers, told)


def truths_of(physiology: Physiology) -> list[float]:
    """Return what is true of a phantom, in the order of ``TRUTHS``."""
    values = {"t_es_over_rr": physiology.t_es_ms / physiology.rr_ms, "lbbb": float(physiology.conduction == "lbbb")}
    return [float(values.get(name, getattr(physiology, name, np.nan))) for name in TRUTHS]


def phantom_ecg(
    physiology: Physiology, rng: np.random.Generator, premature: float = 0.04, fs_hz: float | None = None
) -> PhantomEcg:
    """Return one prepared ECG of a phantom: (12, 5000) float16, phase (2, 625), known (625,), the record, its R peaks.

    Raises:
        EcgError: If the record holds no complete cycle.
    """
    fs_hz = float(rng.choice(RATES_HZ)) if fs_hz is None else fs_hz
    noise = float(np.exp(0.5 * rng.standard_normal()))
    record, peaks = synthesise_ecg(physiology, rng, fs_hz=fs_hz, noise=noise, premature=premature)
    if len(peaks) < 3:
        raise EcgError(f"A record needs three beats; found {len(peaks)}. Draw another.")
    phase, known = phase_labels(peaks, TOKENS, fs_hz)
    return prepare_record(record, SAMPLES).astype(np.float16), phase, known, record, peaks


def _made(jobs: list[Job], workers: int, told: Progress | None) -> Examples:
    parts: list[Part] = []
    for part in spread(_chunk, jobs, workers=workers, ordered=True):
        parts.append(part)
        if told is not None:
            told({"event": "progress", "step": len(parts), "of": len(jobs), "loss": 0.0, "eta_s": 0.0})
    offsets = np.cumsum([0, *(len(part["seeds"]) for part in parts)])[:-1]
    for part, offset in zip(parts, offsets, strict=True):
        part["owner"] += offset
    return Examples(**{name: torch.from_numpy(np.concatenate([part[name] for part in parts])) for name in parts[0]})


def _chunk(job: Job) -> Part:
    seeds, data, images = job
    signals, phases, knowns, owner, clips, labels, truths = [], [], [], [], [], [], []
    kept: list[int] = []
    for seed in seeds:
        if images:
            subject = draw_subject(seed, ENRICHED)
            physiology = subject.physiology
        else:  # the physiology of ``draw_subject``, without the heart: building it takes four fifths of the time
            physiology = draw_physiology(np.random.default_rng([seed, 1]), prevalence=RHYTHMS)
        rng = np.random.default_rng([seed, 9])
        drawn = []
        for _ in range(data.ecg_draws if images else 1):
            try:
                drawn.append(phantom_ecg(physiology, rng, 0.04 if images else PREMATURE)[:3])
            except EcgError as error:
                logger.warning("An ECG of phantom %d is left out: %s", seed, error)
        if not drawn:
            continue
        for signal, phase, known in drawn:
            signals.append(signal)
            phases.append(phase.astype(np.float16))
            knowns.append(known.astype(np.uint8))
            owner.append(len(kept))
        if images:
            clip, marked = render_plane(subject, data.grid, data.body, data.slab)
            clips.append(clip)
            labels.append(marked)
        truths.append(truths_of(physiology))
        kept.append(seed)
    return {
        "signals": np.stack(signals),
        "phase": np.stack(phases),
        "known": np.stack(knowns),
        "owner": np.array(owner, dtype=np.int64),
        **({"clips": np.stack(clips), "labels": np.stack(labels)} if images else {}),
        "truths": np.array(truths, dtype=np.float32),
        "seeds": np.array(kept, dtype=np.int64),
    }
