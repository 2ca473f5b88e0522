"""Training of the registration teacher (stage 1): ``train_teacher`` and its objective."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Unpack

import torch
from COFGeneratorLib.anatomy.segmenters.frozen_segmentation import FrozenSegmentation
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.machine import choose_device
from COFGeneratorLib.motion.constants import constant
from COFGeneratorLib.motion.fields import folded_fraction, warp
from COFGeneratorLib.registration.similarity import correlation_loss, dice_loss, largest_field_loss, smoothness_loss
from COFGeneratorLib.registration.teacher import RegistrationTeacher
from COFGeneratorLib.registration.teacher_network import (
    REDUCTION,
    TeacherConfig,
    TeacherNetwork,
    displace,
    nodes_to_pixels,
)
from torch.nn.functional import avg_pool3d, max_pool3d

from COFTrainingLib.training.loop.loop import Batches, LoopConfig, Loss, LossFn, RunOptions, TrainedRun, train
from COFTrainingLib.training.loop.precision import full_precision
from COFTrainingLib.training.loop.ranks import own_device
from COFTrainingLib.training.teacher.seen_labels import seen_loss
from COFTrainingLib.training.teacher.teacher_pairs import PairsConfig, PhantomPairs

TERMS = ("reconstruction", "segmentation", "smoothness", "largest_field", "displacement")
SEGMENTATIONS = ("labels", "network")


@dataclass(frozen=True)
class Objective:
    """Weights of the teacher's objective.

    Args:
        reconstruction: λ_rec, of 1 − local correlation.
        segmentation: λ_seg, of the Dice term (the paper's sweep: 0.5, 1.0, 3.0).
        segmentation_by: What the Dice term compares: ``"network"``, what a frozen segmentation network sees in the
            warped image and in the target (the paper's); or ``"labels"``, the anchor's labels, warped, with the
            target's: many times cheaper.
        smoothness: Of the velocity's squared gradient, mm per mm.
        largest_field: Of the maximum-field term, 1/mm².
        displacement: Of the distance to the true displacement, 1/mm, where a batch has one (phantoms do; 0: the
            paper's objective, which never sees a true motion).
    """

    reconstruction: float = 1.0
    segmentation: float = 1.0
    segmentation_by: str = "labels"
    smoothness: float = 0.3
    largest_field: float = 0.1
    displacement: float = 0.0

    def __post_init__(self) -> None:
        if self.segmentation_by not in SEGMENTATIONS:
            raise TrainingError(
                f"The teacher's Dice term compares {' or '.join(SEGMENTATIONS)}; found {self.segmentation_by!r}. "
                "Correct teacher.objective.segmentation_by."
            )

    @property
    def needs_network(self) -> bool:
        """Whether a frozen segmentation network takes part."""
        return self.segmentation_by == "network" and self.segmentation > 0.0


@dataclass(frozen=True)
class TeacherTraining:
    """Everything that fixes a teacher's training.

    Args:
        network, pairs, objective, loop: The network, its examples, what is minimised, and how.
        validation_batches: Batches of held-out pairs a validation takes.
        epochs: Passes over the subjects, each giving one pair, in place of the loop's steps; 0 keeps those.
    """

    network: TeacherConfig = field(default_factory=TeacherConfig)
    pairs: PairsConfig = field(default_factory=PairsConfig)
    objective: Objective = field(default_factory=Objective)
    loop: LoopConfig = field(default_factory=lambda: LoopConfig(steps=1600))
    validation_batches: int = 6
    epochs: int = 0


def teacher_loss(objective: Objective, frozen: FrozenSegmentation | None = None) -> LossFn:
    """Return the loss function of the loop: λ_rec (1 − NCC) + λ_seg Dice + regularisers (COF v2, eqs. 4–6).

    ``frozen`` is the segmentation network of an objective that ``needs_network``.
    """

    def loss_fn(model: TeacherNetwork, batch: dict[str, Any], generator: torch.Generator) -> Loss:
        velocity = model(batch["anchor"], batch["target"], batch["pitch_mm"])
        with full_precision(velocity.device):
            return objective_of(objective, model.config, velocity, batch, frozen)

    return loss_fn


def objective_of(
    objective: Objective,
    config: TeacherConfig,
    velocity_mm: torch.Tensor,
    batch: dict[str, Any],
    frozen: FrozenSegmentation | None = None,
) -> Loss:
    """Return the objective of velocities (B, 3, D, h, w) mm and what it is made of.

    Raises:
        TrainingError: If the objective asks for a segmentation network, and there is none.
    """
    if objective.needs_network and frozen is None:
        raise TrainingError(
            'This objective asks a segmentation network (segmentation_by = "network"); found none. Give --segmenter.'
        )
    node_mm = node_spacing_mm(config, batch["pitch_mm"])
    displacement = displace(velocity_mm, node_mm)
    pixel_mm = node_mm / constant((1.0, REDUCTION, REDUCTION), torch.float32, node_mm.device)
    movement = nodes_to_pixels(displacement) / pixel_mm.view(-1, 3, 1, 1, 1)
    warped = warp(torch.cat([batch["anchor"], batch["anchor_labels"]], dim=1), movement)
    terms = {
        "reconstruction": correlation_loss(warped[:, :1], batch["target"]),
        "segmentation": _segmentation(objective, config, warped, batch, frozen),
        "smoothness": smoothness_loss(velocity_mm, node_mm),
        "largest_field": largest_field_loss(displacement),
    }
    if "displacement_mm" in batch:
        error = (displacement - batch["displacement_mm"]).square().sum(dim=1, keepdim=True)
        near = _near_the_heart(batch["target_labels"])
        terms["displacement"] = ((error + 0.01).sqrt() * near).sum() / near.sum().clamp(min=1.0)  # mm
    loss = sum(getattr(objective, name) * terms[name] for name in TERMS if name in terms)
    return loss, {name: term.detach() for name, term in terms.items()}


def _segmentation(
    objective: Objective, config: TeacherConfig, warped: torch.Tensor, batch: dict[str, Any],
    frozen: FrozenSegmentation | None,
) -> torch.Tensor:  # fmt: skip
    """Return the Dice term of a warped image and labels (B, 4, D, H, W)."""
    if not objective.needs_network or frozen is None:
        return dice_loss(warped[:, 1:], batch["target_labels"])
    pitch_mm = float(batch["pitch_mm"].mean())  # networks resample in the plane; a batch has about one pitch
    return seen_loss(frozen, warped[:, :1], batch["target"], (pitch_mm, config.pixel_mm, config.pixel_mm))


def node_spacing_mm(config: TeacherConfig, pitch_mm: torch.Tensor) -> torch.Tensor:
    """Return the spacing of velocity nodes, (B, 3), of stacks with these slice pitches (B,)."""
    plane = torch.full_like(pitch_mm, REDUCTION * config.pixel_mm)
    return torch.stack([pitch_mm, plane, plane], dim=1)


def _near_the_heart(labels: torch.Tensor) -> torch.Tensor:
    """Return a weight at the velocity nodes, (B, 1, D, h, w): 1 on the heart and 10 mm around, 0.1 elsewhere."""
    heart = avg_pool3d(labels.sum(dim=1, keepdim=True).clamp(max=1.0), (1, REDUCTION, REDUCTION))
    return 0.1 + 0.9 * max_pool3d(heart, (1, 5, 5), stride=1, padding=(0, 2, 2))


def new_network(config: TeacherConfig, seed: int) -> TeacherNetwork:
    """Return a new network whose initial weights depend on the seed alone."""
    torch.manual_seed(seed)
    return TeacherNetwork(config)


def train_teacher(
    pairs: Batches | None,
    out_dir: Path | str,
    config: TeacherTraining,
    *,
    held_out: Batches | None = None,
    frozen: FrozenSegmentation | None = None,
    **options: Unpack[RunOptions],
) -> TrainedRun:
    """Train a registration teacher; ``out_dir/teacher`` then holds what ``RegistrationTeacher.load`` reads.

    Pairs are ``step → batch`` as ``PhantomPairs`` makes them; None for phantoms drawn by the configuration, and to
    validate on for phantoms of other seeds. ``frozen`` is the segmentation network of an objective that needs one.
    """
    if frozen is not None:
        frozen = frozen.to(choose_device(own_device(config.loop.device)))
    pairs = pairs or PhantomPairs(config.pairs, config.network, config.loop.seed)
    if config.epochs:
        per_epoch = -(-getattr(pairs, "count", config.pairs.subjects) // config.pairs.batch)
        config = replace(config, loop=replace(config.loop, steps=config.epochs * per_epoch))
    if held_out is None:
        others = replace(config.pairs, first_seed=config.pairs.first_seed + 40_000, subjects=24, still=0.0)
        held_out = PhantomPairs(others, config.network, seed=config.loop.seed + 1)

    def validate(model: TeacherNetwork, step: int) -> dict[str, float]:
        device = next(model.parameters()).device
        sums: dict[str, float] = {}
        for index in range(config.validation_batches):
            batch = {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in held_out(index).items()}
            velocity = model(batch["anchor"], batch["target"], batch["pitch_mm"])
            loss, terms = objective_of(config.objective, config.network, velocity, batch, frozen)
            node_mm = node_spacing_mm(config.network, batch["pitch_mm"])
            folded = folded_fraction(displace(velocity, node_mm) / node_mm.view(-1, 3, 1, 1, 1))
            for name, value in {**terms, "score": loss, "folded": folded}.items():
                sums[name] = sums.get(name, 0.0) + float(value) / config.validation_batches
        return {(name if name == "score" else f"held_out_{name}"): value for name, value in sums.items()}

    network = new_network(config.network, config.loop.seed)
    result = train(
        network,
        teacher_loss(config.objective, frozen),
        pairs,
        out_dir,
        config.loop,
        model_config={
            **{key: value for key, value in asdict(config).items() if key != "loop"},
            **({"segmented_by": frozen.described} if frozen is not None else {}),
        },
        model_defaults=asdict(TeacherTraining()),
        validate=validate,
        **options,
    )
    RegistrationTeacher(network.to("cpu")).save(Path(out_dir) / "teacher")
    return result
