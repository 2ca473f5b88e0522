"""Every setting of a comparator's training, and the named configurations."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from COFGeneratorLib.errors import TrainingError

from COFTrainingLib.training.comparators.ecg_tokens import EcgTokens, EcgTokensSettings
from COFTrainingLib.training.comparators.frames import FrameCoder
from COFTrainingLib.training.comparators.latent_flow import LatentFlow, LatentFlowSettings
from COFTrainingLib.training.comparators.windows import ClipGrid
from COFTrainingLib.training.loop.loop import LoopConfig
from COFTrainingLib.training.loop.settings import Shelf, applied

FOLDER = Path(__file__).resolve().parents[2] / "configurations" / "image-comparators"
DEFAULT = "latent-flow"
SHELF = Shelf(FOLDER, DEFAULT)
LATENT_FLOW, ECG_TOKENS = FAMILIES = ("latent-flow", "ecg-tokens")


@dataclass(frozen=True)
class ComparatorTraining:
    """A training in two stages.

    Args:
        family: ``"latent-flow"`` or ``"ecg-tokens"``.
        clips: What is generated.
        frames: Encoder and decoder of images.
        latent_flow, ecg_tokens: Size of the family; the other one's is not looked at.
        batch: Clips a step.
        autoencoder_loop, generator_loop: Of the two stages.
    """

    family: str = LATENT_FLOW
    clips: ClipGrid = field(default_factory=ClipGrid)
    frames: FrameCoder = field(default_factory=FrameCoder)
    latent_flow: LatentFlowSettings = field(default_factory=LatentFlowSettings)
    ecg_tokens: EcgTokensSettings = field(default_factory=EcgTokensSettings)
    batch: int = 8
    autoencoder_loop: LoopConfig = field(default_factory=partial(LoopConfig, steps=20_000))
    generator_loop: LoopConfig = field(default_factory=partial(LoopConfig, steps=100_000))

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise TrainingError(f"A comparator's family is {' or '.join(FAMILIES)}; found {self.family!r}.")
        if self.clips.size % self.frames.factor:
            raise TrainingError(
                f"A clip's size must be a multiple of 2^levels, {self.frames.factor}; found {self.clips.size}. Change "
                "one of them."
            )
        if self.batch < 1:
            raise TrainingError(f"A batch has at least one clip; found {self.batch}. Correct it.")

    def build(self, heard: int) -> LatentFlow | EcgTokens:
        """Return the untrained networks, for an encoder whose embedding has a length."""
        if self.family == LATENT_FLOW:
            return LatentFlow(self.frames, self.latent_flow, heard)
        return EcgTokens(self.frames, self.ecg_tokens, heard, self.clips.size)


def read_settings(name: str | Path = DEFAULT) -> ComparatorTraining:
    """Return the settings of a named configuration, or of a TOML or JSON file (with ``base``).

    Raises:
        TrainingError: If there is none, or a key or value cannot be.
    """
    return applied(ComparatorTraining(), SHELF.read(str(name)))
