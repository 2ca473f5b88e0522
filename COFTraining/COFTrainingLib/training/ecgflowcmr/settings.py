"""Every setting of this engine's training, with the paper's values as defaults, and the named configurations."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from COFGeneratorLib.ecgflowcmr.model import FlowDefaults, PlaneGrid
from COFGeneratorLib.ecgflowcmr.pa_mae import PaMaeConfig
from COFGeneratorLib.ecgflowcmr.phenotype import UNITS
from COFGeneratorLib.ecgflowcmr.plane_segmenter import PlaneSegmenterConfig
from COFGeneratorLib.ecgflowcmr.transformer import RATE_SCALARS, DitConfig
from COFGeneratorLib.ecgflowcmr.video_vae import VaeConfig
from COFGeneratorLib.errors import TrainingError

from COFTrainingLib.training.loop.loop import LoopConfig
from COFTrainingLib.training.loop.settings import Shelf, applied

FOLDER = Path(__file__).resolve().parents[2] / "configurations" / "ecgflowcmr"
DEFAULT = "ecgflowcmr-small"
SHELF = Shelf(FOLDER, DEFAULT)


def _loop(**changes: Any) -> partial[LoopConfig]:
    return partial(LoopConfig, **{"weight_decay": 1e-4, "final_factor": 0.01, "checkpoint_every": 500, **changes})


@dataclass(frozen=True)
class DataSettings:
    """Subjects to train on.

    Args:
        grid: The plane.
        subjects, held_out: Phantoms to train and to validate on, where no cohort is given.
        ecg_draws: ECGs of one subject, each with its own electrodes, noise and beat-to-beat variation.
        records: Further ECGs without images, for PA-MAE alone.
        first_seed: Of the phantoms.
        slab: Samples through the slice.
        body: Seed of the one body and scan that all phantoms share; 0 gives each its own.
    """

    grid: PlaneGrid = field(default_factory=PlaneGrid)
    subjects: int = 29_490
    held_out: int = 256
    ecg_draws: int = 1
    records: int = 30_000
    first_seed: int = 500_000
    slab: int = 3
    body: int = 0


@dataclass(frozen=True)
class PaMaeTraining:
    """PA-MAE: loss = reconstruct · MSE of the masked part + phase · MSE of (sin, cos) + phenotype · MSE of phenotypes.

    Args:
        network: Its size.
        batch: Records a step.
        reconstruct, phase: Weights; 100 and 10 as published.
        phenotype: Weight of the head's error in standard units, where the network has one.
        window: Samples of a record a step sees, around one of its cycles; 0 is all. Short windows show more hearts in
            the same time.
        masked_share: Share of the batch that is masked and restored; the other losses see all of it.
        near_r: Extra weight of the phase error at R, where the boundaries are found; 0 weighs all phases alike.
        variation: Scale of the variation of gain and noise, see ``vary``; 1 deletes half of what voltages tell.
        loop: Of the training.
    """

    network: PaMaeConfig = field(default_factory=PaMaeConfig)
    batch: int = 32
    reconstruct: float = 100.0
    phase: float = 10.0
    phenotype: float = 10.0
    window: int = 0
    masked_share: float = 1.0
    near_r: float = 0.0
    variation: float = 1.0
    loop: LoopConfig = field(
        default_factory=_loop(steps=92_000, learning_rate=1e-4, weight_decay=0.05, betas=(0.9, 0.95), clip_norm=3.0)
    )


@dataclass(frozen=True)
class VaeTraining:
    """VAE: L1 + perceptual · LPIPS (local weights only) + kl · KL (sum) + adversarial (from a step on) + outlier.

    Args:
        network: Its size.
        batch: Clips a step.
        window: Frames of a clip a step; 0 is all.
        kl: Weight of the KL divergence, summed over the latent.
        perceptual: Weight of the perceptual distance; needs ``perceptual_weights``.
        perceptual_weights: Local file of VGG-16 weights; empty for none.
        adversarial: Weight of the hinge loss of a 3-D patch critic, scaled by the gradients' ratio; 0 for none.
        adversarial_from: Step from which it counts.
        outlier: Weight of what exceeds mean + 3 SD in the reconstruction.
        loop: Of the training.
    """

    network: VaeConfig = field(default_factory=VaeConfig)
    batch: int = 1
    window: int = 0
    kl: float = 1e-6
    perceptual: float = 1.0
    perceptual_weights: str = ""
    adversarial: float = 0.5
    adversarial_from: int = 10_000
    outlier: float = 1.0
    loop: LoopConfig = field(
        default_factory=_loop(steps=294_900, learning_rate=5e-5, weight_decay=0.02, betas=(0.5, 0.9), clip_norm=3.0)
    )


@dataclass(frozen=True)
class SegmenterTraining:
    """The plane segmenter."""

    network: PlaneSegmenterConfig = field(default_factory=PlaneSegmenterConfig)
    batch: int = 16
    loop: LoopConfig = field(default_factory=_loop(steps=3000, learning_rate=2e-3))


@dataclass(frozen=True)
class AmdfTraining:
    """AMDF: flow matching from the noised template, the ECG encoder fine-tuned with it.

    Args:
        width, depth, heads, patch, mlp: Of the transformer; the rest of its size follows from VAE, plane and PA-MAE.
        aligned: See ``DitConfig``.
        batch: Clips a step.
        alpha: Scale of the noise on the template (paper: 1).
        template: Whether the flow starts from the mean latent of all cines, as in the paper, or from noise alone.
        drop: Share of the conditions that are dropped, for guidance.
        phase: Weight of the phase loss that keeps the fine-tuned encoder's phase head true.
        phenotype: Weight of the phenotype head's error, which keeps its reading true; the flow does not move it.
        encoder_gradient: Share of the flow's gradient that reaches the encoder; with 1 (the paper) a small encoder
            gives up its phase for the flow.
        moving: Extra weight of the latent's deviation from its mean over time; 0 is the paper's plain loss.
        sampler: What the bundle samples with.
        loop: Of the training.
    """

    width: int = 512
    depth: int = 8
    heads: int = 8
    patch: int = 1
    mlp: int = 4
    aligned: bool = False
    batch: int = 4
    alpha: float = 1.0
    template: bool = True
    drop: float = 0.1
    phase: float = 0.1
    phenotype: float = 0.1
    encoder_gradient: float = 1.0
    moving: float = 0.0
    sampler: FlowDefaults = field(default_factory=FlowDefaults)
    loop: LoopConfig = field(default_factory=_loop(steps=73_700, learning_rate=1e-4, weight_decay=1e-4, clip_norm=1.0))


@dataclass(frozen=True)
class EcgFlowTraining:
    """All stages."""

    data: DataSettings = field(default_factory=DataSettings)
    pa_mae: PaMaeTraining = field(default_factory=PaMaeTraining)
    vae: VaeTraining = field(default_factory=VaeTraining)
    segmenter: SegmenterTraining = field(default_factory=SegmenterTraining)
    amdf: AmdfTraining = field(default_factory=AmdfTraining)

    def dit(self) -> DitConfig:
        """Return the transformer's size.

        Raises:
            TrainingError: If plane, VAE and transformer do not fit each other, or a phenotype is not known.
        """
        grid, vae, amdf = self.data.grid, self.vae.network, self.amdf
        unknown = [name for name in self.pa_mae.network.phenotypes if name not in UNITS]
        if unknown:
            raise TrainingError(f"Phenotypes are {', '.join(UNITS)}; found {unknown[0]!r}. Name some of them.")
        side, rest = divmod(grid.size, vae.factor)
        if rest or side % amdf.patch or amdf.width % amdf.heads:
            raise TrainingError(
                f"The plane's size must be a multiple of {vae.factor * amdf.patch} (VAE × patch) and the transformer's "
                f"width one of its heads; found {grid.size}, {amdf.width} and {amdf.heads}. Change one of them."
            )
        return DitConfig(
            frames=grid.frames, side=side, latent=vae.latent, patch=amdf.patch, width=amdf.width, depth=amdf.depth,
            heads=amdf.heads, mlp=amdf.mlp, ecg=self.pa_mae.network.tokens, aligned=amdf.aligned,
            scalars=RATE_SCALARS + len(self.pa_mae.network.phenotypes),
        )  # fmt: skip


def read_settings(name: str | Path = DEFAULT) -> EcgFlowTraining:
    """Return the settings of a named configuration, or of a TOML or JSON file (with ``base``).

    Raises:
        TrainingError: If there is none, or a key or value cannot be.
    """
    settings = applied(EcgFlowTraining(), SHELF.read(str(name)))
    settings.dit()
    return settings
