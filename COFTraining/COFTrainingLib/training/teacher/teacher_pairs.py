"""Pairs of frames of phantom hearts for the registration teacher, with labels and true displacement.

What is slow (tissues and motion) is made once a subject and kept in memory; what is cheap and should never repeat
(contrast, coil, noise) is drawn for every step.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from COFGeneratorLib.registration.teacher_grid import TOWARDS_RV_MM, scale_intensity
from COFGeneratorLib.registration.teacher_network import REDUCTION, TeacherConfig

from COFTrainingLib.phantom.appearance import draw_acquisition, form_images
from COFTrainingLib.phantom.heart import BeatingHeart
from COFTrainingLib.phantom.noise import NoiseField
from COFTrainingLib.phantom.physiology import draw_physiology
from COFTrainingLib.phantom.prevalence import Prevalence
from COFTrainingLib.phantom.shape import draw_shape
from COFTrainingLib.phantom.stacks import StackGeometry, sample_tissues
from COFTrainingLib.phantom.surroundings import Scene
from COFTrainingLib.phantom.tissues import LABEL_OF_TISSUE

PREVALENCE = Prevalence(infarct=0.3, bundle_branch_block=0.2, atrial_fibrillation=0.05, hypertrophy=0.15)
"""Rare motion is drawn more often than it occurs: a teacher must follow what it sees, not what is common."""


@dataclass(frozen=True)
class PairsConfig:
    """Which pairs are made.

    Args:
        subjects: Different hearts.
        first_seed: Seed of the first one; disjoint ranges make disjoint cohorts.
        phases: Target frames kept for each heart, beside its R-wave frame.
        stacks: (slices, lowest pitch mm, highest pitch mm) of each group; a batch comes from one group.
        slab: Samples through a slice's thickness.
        batch: Pairs in a batch.
        still: Share of pairs of a frame with itself (no motion, other noise).
        kept: Hearts held in memory.
    """

    subjects: int = 180
    first_seed: int = 50_000
    phases: int = 4
    stacks: tuple[tuple[int, float, float], ...] = ((12, 7.0, 11.0), (8, 10.0, 18.0), (16, 4.5, 7.0))
    slab: int = 2
    batch: int = 4
    still: float = 0.08
    kept: int = 400


@dataclass(frozen=True)
class _Subject:
    """One heart on its teacher grid: tissues (P, D, S, H, W), relief (P, D, H, W), displacement (P, 3, D, h, w) mm."""

    name: str
    pitch_mm: float
    tissues: torch.Tensor
    relief: torch.Tensor
    displacement_mm: torch.Tensor


class PhantomPairs:
    """Batches by step: the same step gives the same batch, whatever was asked for before."""

    def __init__(self, config: PairsConfig, teacher: TeacherConfig, seed: int = 0) -> None:
        self.config, self.teacher, self.seed = config, teacher, seed
        self._subjects: OrderedDict[int, _Subject] = OrderedDict()

    def __call__(self, step: int) -> dict[str, Any]:
        """Return the batch of a step.

        ``anchor``, ``target`` (B, 1, D, H, W) scaled by the anchor's percentiles; ``anchor_labels`` soft and
        ``target_labels`` hard (B, 3, D, H, W); ``displacement_mm`` (B, 3, D, h, w) at the velocity nodes;
        ``pitch_mm`` (B,); ``names``.
        """
        config = self.config
        rng = np.random.default_rng([self.seed, 1, step])
        group = step % len(config.stacks)
        members = np.arange(group, config.subjects, len(config.stacks))
        per_epoch = max(len(members) // config.batch, 1)
        epoch, place = divmod(step // len(config.stacks), per_epoch)
        order = np.random.default_rng([self.seed, 2, group, epoch]).permutation(members)
        chosen = np.take(order, np.arange(place * config.batch, (place + 1) * config.batch), mode="wrap")
        pairs = [self._pair(self.subject(int(index)), rng) for index in chosen]
        batch = {key: torch.stack([pair[key] for pair in pairs]) for key in pairs[0] if key != "name"}
        return {**batch, "names": [pair["name"] for pair in pairs]}

    def subject(self, index: int) -> _Subject:
        """Return a heart, made on first use."""
        if index not in self._subjects:
            self._subjects[index] = self._make(index)
            while len(self._subjects) > self.config.kept:
                self._subjects.popitem(last=False)
        return self._subjects[index]

    def _make(self, index: int) -> _Subject:
        config = self.config
        rng = np.random.default_rng(config.first_seed + index)
        physiology = draw_physiology(rng, prevalence=PREVALENCE)
        heart = BeatingHeart(draw_shape(rng, physiology), physiology)
        scene = Scene(rng, heart)
        geometry = self._geometry(rng, heart, *config.stacks[index % len(config.stacks)])
        others = rng.uniform(0.08, 0.95, config.phases - 1) * physiology.rr_ms
        times = [0.0, physiology.t_es_ms + rng.uniform(-20, 60), *others]
        relief = NoiseField(rng, rng.uniform(4.0, 9.0))
        points = np.stack([geometry.points(k) for k in range(geometry.shape[0])])  # (D, H, W, 3)
        pulls = np.stack([heart.pull_mm(points, t) if t else np.zeros_like(points) for t in times])
        moved = (points + pulls).reshape(-1, 3).astype(np.float32)
        axes = geometry.kji_to_heart[:3, :3] / geometry.spacing_mm
        along = pulls @ axes  # heart axes → the grid's own
        depth, height, width = geometry.shape
        blocks = along.reshape(len(times), depth, height // REDUCTION, REDUCTION, width // REDUCTION, REDUCTION, 3)
        return _Subject(
            name=f"phantom-{config.first_seed + index}",
            pitch_mm=float(geometry.spacing_mm[0]),
            tissues=torch.from_numpy(np.stack([sample_tissues(scene, geometry, t, config.slab) for t in times])),
            relief=torch.from_numpy(relief(moved).reshape(len(times), *geometry.shape)).half(),
            displacement_mm=torch.from_numpy(blocks.mean(axis=(3, 5))).movedim(-1, 1).half(),
        )

    def _geometry(
        self, rng: np.random.Generator, heart: BeatingHeart, slices: int, low: float, high: float
    ) -> StackGeometry:
        """Place the heart-centred grid roughly as the heart frame of an imperfect label map would."""
        teacher = self.teacher
        pitch = rng.uniform(low, high)
        turn, (tilt_j, tilt_i) = rng.normal(0.0, np.deg2rad(10)), rng.normal(0.0, np.deg2rad(6), 2)
        normal = np.array([1.0, tilt_j, tilt_i]) / np.linalg.norm([1.0, tilt_j, tilt_i])
        i_axis = np.array([0.0, np.sin(turn), np.cos(turn)])
        i_axis -= normal * (normal @ i_axis)
        i_axis /= np.linalg.norm(i_axis)
        axes = np.stack([normal, np.cross(i_axis, normal), i_axis])
        length = heart.shape.length_mm + heart.shape.apex_wall_mm
        slack = slices * pitch - length
        above_base = rng.uniform(0.0, 0.7) * slack if slack > 0 else rng.uniform(0.2, 0.8) * slack
        middle = np.array([-heart.shape.centroid_z_mm - above_base + 0.5 * slices * pitch, 0.0, 0.0])
        middle += np.array([0.0, *rng.normal(0.0, 5.0, 2)]) + axes.T @ np.array([0.0, 0.0, -TOWARDS_RV_MM])
        spacing = np.array([pitch, teacher.pixel_mm, teacher.pixel_mm])
        matrix = np.eye(4)
        matrix[:3, :3] = axes.T * spacing
        matrix[:3, 3] = middle - matrix[:3, :3] @ ((np.array([slices, *teacher.plane]) - 1) / 2)
        shifts = rng.normal(0.0, rng.choice([0.0, 1.0, 2.0]), (slices, 3)) * np.array([0.3, 1.0, 1.0])
        return StackGeometry((slices, *teacher.plane), matrix, min(pitch, rng.uniform(5, 9)), shifts)

    def _pair(self, subject: _Subject, rng: np.random.Generator) -> dict[str, Any]:
        still = rng.random() < self.config.still
        phase = 0 if still else int(rng.integers(1, len(subject.tissues)))
        acquisition = draw_acquisition(rng)
        # what belongs to the scanner is the same in both frames, what is noise is not, and texture moves
        quiet = replace(
            acquisition, noise=0.0, clutter=0.0, flow=0.5 * acquisition.flow,
            contrast=replace(acquisition.contrast, texture=0.3 * acquisition.contrast.texture),
        )  # fmt: skip
        seed, strength = int(rng.integers(2**62)), float(rng.uniform(0.0, 0.12))
        noise = torch.Generator().manual_seed(seed + 1)
        images = []
        for index in (0, phase):
            same = torch.Generator().manual_seed(seed)
            image = form_images(subject.tissues[index], quiet, self.teacher.pixel_mm, same)
            image = image * (1.0 + strength * subject.relief[index].float()).clamp_min(0.0)
            real, imaginary = torch.randn((2, *image.shape), generator=noise) * acquisition.noise
            images.append(((image + real) ** 2 + imaginary**2).sqrt())
        anchor, target = scale_intensity(images[0], images[0]), scale_intensity(images[1], images[0])
        labels = [_fractions(subject.tissues[index]) for index in (0, phase)]
        hard = torch.cat([1.0 - labels[1].sum(dim=0, keepdim=True), labels[1]]).argmax(dim=0)
        return {
            "anchor": anchor[None],
            "target": target[None],
            "anchor_labels": labels[0],
            "target_labels": torch.stack([(hard == code).float() for code in (1, 2, 3)]),
            "displacement_mm": subject.displacement_mm[phase].float(),
            "pitch_mm": torch.tensor(subject.pitch_mm),
            "name": f"{subject.name}@{phase}",
        }


def _fractions(tissues: torch.Tensor) -> torch.Tensor:
    """Return the occupancy (3, D, H, W) of LV, myocardium and RV in slices of (D, S, H, W) tissue codes."""
    labels = torch.from_numpy(LABEL_OF_TISSUE)[tissues.long()]
    return torch.stack([(labels == code).float().mean(dim=1) for code in (1, 2, 3)])
