"""How good generated clips are, in the layout of ECGFlowCMR's Table 1: LPIPS, FID, FVD and time a clip, on a cohort.

Every generator's clip of a subject stands beside the recorded one. FID compares means of frames' vectors, FVD vectors
of frames in order: DINOv2's from a local file, or pooled pixels without one, which the page says.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import adaptive_avg_pool2d

from COFTrainingLib.evaluation.metrics.distribution import frechet, half_split, standardise, subsampled
from COFTrainingLib.evaluation.report.papers import published
from COFTrainingLib.evaluation.report.section import Section, Table, shown, with_interval
from COFTrainingLib.evaluation.statistics import bca_interval

PHASES = 10
POOLED = 8
COMPONENTS, FEWEST = 16, 8
Encoder = Callable[[torch.Tensor], torch.Tensor]
"""Of grey images (N, h, w) in 0…1, (N, d)."""
Distance = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Of clips (B, 1, T, H, W) in −1…1, as ``training.ecgflowcmr.vae_losses.Perceptual``."""


@dataclass(frozen=True)
class Generated:
    """Clips of one generator: (N, T, H, W) uint8 in the order of the recorded ones, and seconds a clip where known."""

    clips: torch.Tensor
    seconds: float | None = None


def chosen_phases(clips: torch.Tensor) -> torch.Tensor:
    """Return ``PHASES`` equidistant frames of clips (N, T, H, W) uint8, in 0…1, float32."""
    frames = np.round(np.arange(PHASES) / PHASES * clips.shape[1]).astype(int) % clips.shape[1]
    return clips[:, torch.from_numpy(frames)].float() / 255.0


def pooled_pixels(images: torch.Tensor) -> torch.Tensor:
    """Return (N, 64): grey images (N, h, w) averaged over 8 × 8 fields."""
    return adaptive_avg_pool2d(images[:, None], POOLED).flatten(1)


def vectors(clips: torch.Tensor, encoder: Encoder) -> tuple[np.ndarray, np.ndarray]:
    """Return of clips (N, T, H, W) the mean of the frames' vectors (N, d), and the vectors in order (N, PHASES·d)."""
    frames = chosen_phases(clips)
    found = torch.cat([encoder(part) for part in frames.flatten(0, 1).split(64)]).double().cpu().numpy()
    found = found.reshape(len(clips), PHASES, -1)
    return found.mean(axis=1), found.reshape(len(clips), -1)


@torch.inference_mode()
def lpips_of(real: torch.Tensor, made: torch.Tensor, distance: Distance) -> np.ndarray:
    """Return the mean distance over frames of each pair of clips (N, T, H, W) uint8, (N,)."""
    pairs = zip(*(2.0 * chosen_phases(clips)[:, None, None] - 1.0 for clips in (real, made)), strict=True)
    return np.array([float(distance(one, other)) for one, other in pairs])  # (1, 1, T, H, W) each


def generation_section(
    real: torch.Tensor, made: Mapping[str, Generated], lpips: Distance | None = None, dinov2: Encoder | None = None
) -> Section:
    """Return the section: the table of all generators, with the floor of two halves of the recorded clips.

    Args:
        real: (N, T, H, W) uint8, recorded.
        made: Generators by name.
        lpips, dinov2: From local files, or None.
    """
    section = Section("generation", "Generation quality")
    encoder = dinov2 or pooled_pixels
    whole = dinov2 is not None
    true = vectors(real, encoder)
    rows: list[tuple[str, ...]] = []
    for name, one in made.items():
        found: dict[str, Any] = {}
        cells = ["–"]
        if lpips is not None:
            each = lpips_of(real, one.clips, lpips)
            found["lpips"] = float(each.mean())
            cells = [with_interval(bca_interval(each), 3)]
        for metric, reference, sample in zip(("fid", "fvd"), true, vectors(one.clips, encoder), strict=True):
            pair = (reference, sample) if whole else _reduced(reference, sample)
            if len(real) < FEWEST:
                cells.append("–")
                continue
            mean, sd = subsampled(*pair, frechet)
            found[metric] = mean
            cells.append(f"{mean:.2f} ± {sd:.2f}")
        cells.append("–" if one.seconds is None else f"{shown(one.seconds, 2)} s")
        found["seconds_per_clip"] = one.seconds
        section.numbers[name] = found
        rows.append((name, *cells))
    if len(real) >= FEWEST:
        floors = [half_split(part if whole else _reduced(part, part)[0], frechet) for part in true]
        rows.append(("half of the recorded against the other half (floor)", "–",
                     *(f"{mean:.2f} ± {sd:.2f}" for mean, sd in floors), "–"))  # fmt: skip
    feature = (
        "DINOv2, full dimension"
        if whole
        else (
            f"pixels averaged over {POOLED} × {POOLED} fields, at most {COMPONENTS} components: no weights were given, "
            "and these numbers compare with nobody’s"
        )
    )
    section.text.append(
        f"{len(real)} subjects, {PHASES} frames a clip. LPIPS (VGG-16, local weights) is of a generated clip and the "
        "recorded one of the same subject, mean with its 95 % interval over subjects. FID and FVD: Fréchet distance of "
        f"the mean of the frames’ vectors and of the vectors in order ({feature}); mean ± SD of 50 subsamples of 80 %."
    )
    section.tables.append(
        Table("generation", "Generated clips", ("Method", "LPIPS ↓", "FID ↓", "FVD ↓", "A clip"), rows)
    )
    section.tables.append(published("generation_published"))
    return section


def _reduced(reference: np.ndarray, sample: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    one, other = standardise(reference, sample, keep=min(COMPONENTS, max(len(reference) // 3, 1)))
    return one, other
