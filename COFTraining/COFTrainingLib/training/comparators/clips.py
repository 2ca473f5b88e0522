"""The cines of a cohort as clips of single slices, with their ECGs as the product's encoder hears them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from COFGeneratorLib.anatomy.readers import read_cine
from COFGeneratorLib.ecg import analyse_ecg, read_ecg
from COFGeneratorLib.errors import ChainOfFlowError, TrainingError
from COFGeneratorLib.files import replacing
from COFGeneratorLib.generator.networks.ecg_encoder import EcgEncoder
from safetensors.torch import load_file, save_file

from COFTrainingLib.cohort.manifest import Cohort, Subject
from COFTrainingLib.training.comparators.told import Heard, heard_in
from COFTrainingLib.training.comparators.windows import ClipGrid, window_of
from COFTrainingLib.training.examples.cine_example import MIN_FRAMES, anchor_labels, of_anchor

SHOWN = 3


@dataclass(frozen=True)
class Clips:
    """Clips of a split.

    Attributes:
        images: (N, T, S, S) uint8, one row a slice.
        owner: (N,) int64, whose they are: rows of ``heard``.
        heard: The subjects' ECGs.
    """

    images: torch.Tensor
    owner: torch.Tensor
    heard: Heard

    def __len__(self) -> int:
        return len(self.images)

    def at(self, rows: torch.Tensor) -> tuple[torch.Tensor, Heard]:
        """Return clips (B, T, S, S) in −1 … 1, and what is heard of their subjects."""
        return self.images[rows].float() / 127.5 - 1.0, self.heard.of(self.owner[rows])

    def save(self, path: Path) -> None:
        """Write to a file of safetensors, whole or not at all."""
        parts = {
            "images": self.images, "owner": self.owner, "embedding": self.heard.embedding, "tokens": self.heard.tokens,
        }  # fmt: skip
        with replacing(path) as beside:
            save_file(parts, beside)

    @classmethod
    def load(cls, path: Path) -> "Clips":
        """Read what ``save`` wrote."""
        read = load_file(path)
        return cls(read["images"], read["owner"], Heard(read["embedding"], read["tokens"]))


def read_clips(
    cohort: Cohort, split: str, grid: ClipGrid, encoder: EcgEncoder, segmenter: str = "",
    told: Callable[[int, int, str], None] | None = None,
) -> Clips:  # fmt: skip
    """Read the clips of a split: of every cine the slices with heart, the anchor's frame first.

    Args:
        cohort: A cohort of cines with ECGs.
        split: ``"train"`` or ``"valid"``.
        grid: What a clip is.
        encoder: Hears the ECGs.
        segmenter: Folder of the segmenter for anchors without labels, or empty.
        told: Called with (done, of, why the last one was left out or "").

    Raises:
        TrainingError: If no subject of the split can be used.
    """
    subjects, left_out = cohort.used(split), dict[str, str]()
    images: list[torch.Tensor] = []
    heard: list[Heard] = []
    owner: list[int] = []
    for done, subject in enumerate(subjects, start=1):
        try:
            clip, told_of_ecg = _clip(cohort, subject, grid, encoder, segmenter)
        except ChainOfFlowError as error:
            left_out[subject.id] = str(error)
        else:
            images.append(((clip + 1.0) * 127.5).round().to(torch.uint8))
            owner += [len(heard)] * len(clip)
            heard.append(told_of_ecg)
        if told is not None:
            told(done, len(subjects), left_out.get(subject.id, ""))
    if not images:
        shown = "; ".join(f"{name}: {reason}" for name, reason in list(left_out.items())[:SHOWN])
        raise TrainingError(
            f"A comparator learns from cines with ECGs; none of the {len(subjects)} subjects of the split {split!r} of "
            f"{cohort.header.name!r} can be used{f', e.g. {shown}' if shown else ''}. Give a cohort with both."
        )
    return Clips(
        torch.cat(images),
        torch.tensor(owner),
        Heard(torch.cat([one.embedding for one in heard]), torch.cat([one.tokens for one in heard])),
    )


def _clip(
    cohort: Cohort, subject: Subject, grid: ClipGrid, encoder: EcgEncoder, segmenter: str
) -> tuple[torch.Tensor, Heard]:
    """Return the clips (slices, T, S, S) of one subject in −1 … 1, and its ECG."""
    for role in ("cine", "ecg"):
        if role not in subject.files:
            raise TrainingError(f"A cine and an ECG are needed; {subject.id} has no {role}. Leave it out.")
    cine = read_cine(cohort.path(subject, "cine"))
    count, first = len(cine.frames), int(subject.facts.get("anchor_frame", 0))
    if count < MIN_FRAMES or not 0 <= first < count:
        raise TrainingError(
            f"A cine has at least {MIN_FRAMES} frames, one of them the anchor; found {count} and anchor frame {first} "
            f"in {subject.id}. Leave it out, or correct anchor_frame."
        )
    anchor = of_anchor(cohort, subject)
    labels, _ = anchor_labels(cohort, subject, anchor, segmenter)
    chosen = [(first + round(n * count / grid.frames)) % count for n in range(grid.frames)]
    window = window_of(anchor, labels, grid)
    clip = window.into(np.asarray(cine.frames)[chosen])
    return clip, heard_in(encoder, analyse_ecg(read_ecg(cohort.path(subject, "ecg"))))
