"""Vectors by which distributions of cines are compared: of a network, averaged over slices and frames.

Slices are cut about the heart, upright, at one pixel size, so that position and voxel size do not count. The papers'
own vectors of a subject stand beside ours where DINOv2's weights are given: whole slices as they are, all of them.
"""

import base64
from collections.abc import Callable

import numpy as np
import torch
from COFGeneratorLib.anatomy.segmenters.slice_windows import SliceWindow

from COFTrainingLib.evaluation.cases import EvaluationCase
from COFTrainingLib.evaluation.comparators.methods import bundle_of
from COFTrainingLib.evaluation.metrics.dinov2 import load_dinov2
from COFTrainingLib.evaluation.plan import Plan

PIXELS, SPACING_MM = 96, 1.8
SHARES = (0.25, 0.5, 0.75)
"""Which of the heart's slices are looked at, from base to apex; the middle one over time."""
SHUFFLE_SEED = 20
PAPER_PHASES = 11
"""The papers' canonical frames of a cycle."""
AT_ONCE = 32
"""Slices that the encoder is given at once."""
Encoder = Callable[[torch.Tensor], torch.Tensor]


class SegmenterFeatures:
    """The encoder of a bundle's segmenter (MONAI's ``DynUNet``): channels of its bottleneck, means over the slice."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.network = network

    @torch.inference_mode()
    def __call__(self, slices: torch.Tensor) -> torch.Tensor:
        """Return (N, d) of slices (N, h, w) in 0…1."""
        x = slices.to(next(self.network.parameters()).device)[:, None, None] - 0.5
        x = self.network.input_block(x)
        for block in self.network.downsamples:
            x = block(x)
        return self.network.bottleneck(x).mean(dim=(2, 3, 4))


class CineFeatures:
    """Vectors of a cine by an encoder of slices, (N, h, w) in 0…1 → (N, d).

    ``image`` is for distances of images, ``temporal`` and its control for distances of motion; with ``papers`` there
    are ``papers_image`` and ``papers_temporal``, too, packed by ``packed``.
    """

    def __init__(self, encoder: Encoder, papers: bool = False) -> None:
        self.encoder, self.papers = encoder, papers

    def __call__(self, case: EvaluationCase, images: np.ndarray) -> dict[str, list[float] | str]:
        """Return the vectors of a cine (S, D, H, W) in the anchor's unit.

        ``image`` is the mean over slices and frames; ``temporal`` joins mean, SD and mean absolute step over time of
        the middle slice; ``shuffled`` is ``temporal`` of the same frames in a random order: what a distance of motion
        that is none would not notice.
        """
        window = SliceWindow(
            case.frame.origin_ras, case.frame.axes_ras[1], case.frame.axes_ras[2], (PIXELS, PIXELS), SPACING_MM
        )
        levels = _slices(case)
        geometries = [_slice_geometry(case.anchor.ijk_to_ras, k) for k in levels]
        cut = [
            window.cut(case.scale(volume[k : k + 1]), matrix)[0]
            for volume in images
            for k, matrix in zip(levels, geometries, strict=True)
        ]
        slices = torch.cat(cut).view(len(images), len(levels), PIXELS, PIXELS)
        vectors = self.encoder(slices.flatten(0, 1)).view(len(images), len(levels), -1).double().cpu().numpy()
        middle = vectors[:, len(levels) // 2]
        order = np.random.default_rng(SHUFFLE_SEED).permutation(len(middle))
        row: dict[str, list[float] | str] = {
            "image": _rounded(vectors.mean(axis=(0, 1))),
            "temporal": _rounded(temporal_vector(middle)),
            "shuffled": _rounded(temporal_vector(middle[order])),
        }
        if self.papers:
            image, temporal = subject_vectors(self.encoder, case.scale(images), levels[len(levels) // 2])
            row |= {"papers_image": packed(image), "papers_temporal": packed(temporal)}
        return row


def subject_vectors(encoder: Encoder, images: np.ndarray, middle: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the papers' vectors of a subject (COF §4.2): of images (S, D, H, W) in 0…1.

    The first, (d,), is the mean over all slices of all frames; the second, (11·d,), is the mid-ventricular slice's
    vectors in the order of the frames, at the eleven canonical phases of a cycle (nearest frame).
    """
    frames, levels = images.shape[:2]
    slices = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32)).flatten(0, 1)
    parts = [encoder(part).double().cpu().numpy() for part in slices.split(AT_ONCE)]
    vectors = np.concatenate(parts).reshape(frames, levels, -1)
    phases = np.round(np.arange(PAPER_PHASES) / PAPER_PHASES * frames).astype(int) % frames
    return vectors.mean(axis=(0, 1)), vectors[phases, middle].reshape(-1)


def packed(vector: np.ndarray) -> str:
    """Return a long vector as text: single precision, base64."""
    return base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode("ascii")


def unpacked(text: str) -> np.ndarray:
    """Return the vector of a text of ``packed``, float64."""
    return np.frombuffer(base64.b64decode(text), dtype="<f4").astype(float)


def temporal_vector(frames: np.ndarray) -> np.ndarray:
    """Return mean, SD and mean absolute step round the cycle of features (T, d), (3·d,)."""
    steps = np.abs(np.diff(np.concatenate([frames, frames[:1]]), axis=0))
    return np.concatenate([frames.mean(0), frames.std(0), steps.mean(0)])


def _slices(case: EvaluationCase) -> list[int]:
    """Return three slices of the heart's middle part, base first."""
    wall = np.flatnonzero(((case.labels == 1) | (case.labels == 2)).any(axis=(1, 2)))
    towards_apex = case.frame.kji_to_heart(case.anchor.ijk_to_ras)[0, 0] > 0
    ordered = wall if towards_apex else wall[::-1]
    return [int(ordered[round(share * (len(ordered) - 1))]) for share in SHARES]


def _slice_geometry(ijk_to_ras: np.ndarray, k: int) -> np.ndarray:
    """Return the geometry of a stack that is slice k alone."""
    matrix = np.array(ijk_to_ras)
    matrix[:3, 3] += k * matrix[:3, 2]
    return matrix


def _rounded(vector: np.ndarray) -> list[float]:
    return [float(f"{value:.5g}") for value in vector]


def feature_source(plan: Plan) -> CineFeatures | None:
    """Return the features of a plan: DINOv2 from the user's file, else the main model's segmenter, else none."""
    if plan.features is not None:
        return CineFeatures(load_dinov2(plan.features, plan.device), papers=True)
    if not plan.models:
        return None
    bundle = bundle_of(plan)
    if bundle.segmenter is None:
        return None
    return CineFeatures(SegmenterFeatures(bundle.segmenter.fine))
