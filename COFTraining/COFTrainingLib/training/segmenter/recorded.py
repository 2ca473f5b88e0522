"""Recorded, labelled hearts in place of drawn tissues: the same windows, the same variation, real images.

Each labelled frame is cut once, upright and base first, about the heart (fine) and over the whole view (coarse), and
kept in the run's cache; turns, crops, size, bends and display curves are drawn anew at each use, as for phantoms.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from COFGeneratorLib.anatomy.heart_frame import heart_frame_from_labels
from COFGeneratorLib.anatomy.segmenters.segmenter_network import normalise
from COFGeneratorLib.anatomy.segmenters.slice_windows import SliceWindow
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.errors import ChainOfFlowError, TrainingError
from COFGeneratorLib.files import replacing, write_json
from COFGeneratorLib.jobs.workers import spread
from torch.nn import functional

from COFTrainingLib.cohort.labelled_frames import MOST_FRAMES, has_labels, labelled_frames
from COFTrainingLib.cohort.manifest import Cohort, Subject
from COFTrainingLib.training.segmenter.segmenter_batches import BatchConfig, SegmenterBatches

INDEX = "recorded.json"
TOWARDS_RV_MM = 14.0
"""From the LV's middle, so that both ventricles are in the window."""
CURVED, CURVE_SD = 0.3, 0.25
"""Share of the images whose scale is bent, and by how much, as of phantoms."""
BRIGHTEST_PERCENT = 99.5


@dataclass(frozen=True)
class StackSizes:
    """Pixels and spacing of the cut stacks, as ``CacheConfig`` has them."""

    fine_size: int = 152
    fine_mm: float = 1.25
    coarse_size: int = 112
    coarse_mm: float = 3.6

    def of(self, scale: str) -> tuple[int, float]:
        """Return (pixels, mm) of the ``"fine"`` or ``"coarse"`` stack."""
        return (self.fine_size, self.fine_mm) if scale == "fine" else (self.coarse_size, self.coarse_mm)


def cut_stack(stack: SaxStack, labels: np.ndarray, sizes: StackSizes) -> dict[str, np.ndarray]:
    """Return one labelled frame as both windows: ``fine_image`` (D, h, w) float16, ``fine_label``, ``fine_inside``, ….

    Raises:
        ChainOfFlowError: If no heart's frame is found in the labels.
    """
    frame = heart_frame_from_labels(labels, stack.ijk_to_ras)
    backwards = float(frame.axes_ras[0] @ stack.ijk_to_ras[:3, 2]) < 0
    centre = frame.origin_ras - TOWARDS_RV_MM * frame.axes_ras[2]
    bright = max(float(np.percentile(stack.voxels, BRIGHTEST_PERCENT)), 1e-6)
    cut: dict[str, np.ndarray] = {}
    for scale in ("fine", "coarse"):
        pixels, spacing = sizes.of(scale)
        window = SliceWindow(centre, frame.axes_ras[1], frame.axes_ras[2], (pixels, pixels), spacing, backwards)
        image, inside = window.cut(stack.voxels / bright, stack.ijk_to_ras)
        shares = [window.cut((labels == code).astype(np.float32), stack.ijk_to_ras)[0] for code in (1, 2, 3)]
        heart = torch.stack([1.0 - sum(shares), *shares])
        cut |= {
            f"{scale}_image": image.clamp(0.0, 8.0).half().numpy(),
            f"{scale}_label": torch.where(inside, heart.argmax(dim=0), 0).to(torch.uint8).numpy(),
            f"{scale}_inside": inside.numpy(),
        }
    return cut


def cut_cohort(
    folder: Path | str, cohort: Cohort, split: str, sizes: StackSizes, *, frames: int = MOST_FRAMES, workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> "RecordedStacks":  # fmt: skip
    """Cut the labelled frames of a split, or those that are missing, and return them.

    Subjects that cannot be used are left out and listed in ``recorded.json`` with the reason.

    Raises:
        TrainingError: If none of the split has labels that can be used, or the folder holds those of another cohort.
    """
    folder = Path(folder)
    wanted = [subject for subject in cohort.used(split) if has_labels(subject)]
    if not wanted:
        raise TrainingError(
            f"Training on recordings needs labelled frames (cine_labels, or labels of the anchor); found none in the "
            f"split {split} of {cohort.header.name}. Label them with cof cohort label, or choose other splits."
        )
    facts = {"cohort": cohort.fingerprint(), "split": split, "sizes": asdict(sizes), "frames": frames}
    index = folder / INDEX
    before = json.loads(index.read_text(encoding="utf-8")) if index.is_file() else {}
    if before and before.get("facts") != facts:
        raise TrainingError(
            f"A cache is of one cohort, split and size; {folder} was made of others. Choose another, or delete it."
        )
    if not before:
        folder.mkdir(parents=True, exist_ok=True)
        left_out = {}
        work = partial(_cut_subject, folder, replace(cohort, subjects=()), sizes, frames)
        for done, (name, why) in enumerate(spread(work, wanted, workers=workers), start=1):
            if why:
                left_out[name] = why
            if progress is not None:
                progress(done, len(wanted))
        files = [path.name for subject in wanted for path in sorted(folder.glob(f"{_stem(subject)}-*.npz"))]
        if not files:
            name, why = next(iter(left_out.items()))
            raise TrainingError(
                f"Labelled frames were expected; none of {len(wanted)} subjects gave any: {name}: {why}"
            )
        write_json(index, {"facts": facts, "files": files, "left_out": left_out})
    return RecordedStacks(folder)


def _stem(subject: Subject) -> str:
    return "".join(sign if sign.isalnum() or sign in "-_" else "_" for sign in subject.id)


def _cut_subject(folder: Path, cohort: Cohort, sizes: StackSizes, frames: int, subject: Subject) -> tuple[str, str]:
    """Cut one subject's frames into files; returns its id, and why it gives none."""
    try:
        for number, (stack, labels) in enumerate(labelled_frames(cohort, subject, frames)):
            path = folder / f"{_stem(subject)}-{number:02d}.npz"
            if not path.is_file():
                with replacing(path) as beside, beside.open("wb") as file:
                    np.savez_compressed(file, **cut_stack(stack, labels, sizes))  # type: ignore[arg-type]
    except ChainOfFlowError as error:
        return subject.id, str(error)
    return subject.id, ""


class RecordedStacks:
    """Read access to the cut frames of a folder of ``cut_cohort``; what a ``TissueCache`` is for phantoms."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        described = json.loads((self.folder / INDEX).read_text(encoding="utf-8"))
        self.sizes = StackSizes(**described["facts"]["sizes"])
        self.left_out: dict[str, str] = described["left_out"]
        self._files: Sequence[str] = described["files"]
        self._slices = [len(self.pair("coarse", n)[1]) for n in range(len(self._files))]

    def __len__(self) -> int:
        return len(self._files)

    def spacing_mm(self, scale: str) -> float:
        """Return the pixel size of the ``"fine"`` or ``"coarse"`` stacks."""
        return self.sizes.of(scale)[1]

    def slices(self, number: int) -> int:
        """Return how many slices a frame's stacks have."""
        return self._slices[number]

    def pair(self, scale: str, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return image (D, h, w) float32, label uint8 and where the recorded stack reaches, bool, of a frame."""
        with np.load(self.folder / self._files[number]) as kept:
            image, label, inside = (kept[f"{scale}_{name}"] for name in ("image", "label", "inside"))
        return image.astype(np.float32), label, inside


class RecordedBatches(SegmenterBatches):
    """Batches of recorded frames, varied as the phantoms of ``SegmenterBatches`` are, but for the contrast."""

    cache: Any  # RecordedStacks, where the base class has tissues

    def __init__(self, cache: RecordedStacks, config: BatchConfig) -> None:
        most = max(cache.slices(number) for number in range(len(cache)))
        low, high = config.slices
        super().__init__(cache, replace(config, slices=(min(low, most), min(high, most))))  # type: ignore[arg-type]

    def _one(self, rng: np.random.Generator, subject: int, depth: int) -> tuple[torch.Tensor, torch.Tensor]:
        scale = self.config.scale
        parts = [torch.from_numpy(np.array(part)) for part in self.cache.pair(scale, subject)]
        first = int(rng.integers(0, len(parts[0]) - depth + 1))
        image, label, reach = (part[first : first + depth] for part in parts)
        if rng.random() < self.config.mirror:
            image, label, reach = (part.flip(0) for part in (image, label, reach))
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        grid, inside = self._grid(rng, generator, depth, image.shape[-1] * self.cache.spacing_mm(scale))
        image = functional.grid_sample(image[:, None], grid, align_corners=False)[:, 0]
        label, reach = (
            functional.grid_sample(part[:, None].float(), grid, mode="nearest", align_corners=False)[:, 0]
            for part in (label, reach)
        )
        inside = inside & (reach > 0.5)
        image = normalise(image, inside)
        if rng.random() < CURVED:
            image = (image + 0.5).clamp_min(0).pow(float(np.exp(rng.normal(0.0, CURVE_SD)))) - 0.5
        return image, torch.where(inside, label, torch.zeros_like(label)).long()


def batches_of(cache: Any, config: BatchConfig) -> SegmenterBatches:
    """Return the batches of a cache: of recorded frames, or of drawn tissues."""
    return RecordedBatches(cache, config) if isinstance(cache, RecordedStacks) else SegmenterBatches(cache, config)
