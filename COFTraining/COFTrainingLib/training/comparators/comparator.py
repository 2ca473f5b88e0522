"""A finished run of a comparator, and the cine it makes of an anchor and an ECG."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.ecg.cycle import EcgCycle
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.generator.networks.ecg_encoder import EcgEncoder
from safetensors.torch import load_file

from COFTrainingLib.training.comparators.ecg_tokens import EcgTokens
from COFTrainingLib.training.comparators.latent_flow import LatentFlow
from COFTrainingLib.training.comparators.settings import ComparatorTraining
from COFTrainingLib.training.comparators.stages import FINISHED, SETTINGS, STAGES
from COFTrainingLib.training.comparators.told import heard_in
from COFTrainingLib.training.comparators.windows import window_of
from COFTrainingLib.training.ecg.ecg_training import WEIGHTS, load_encoder
from COFTrainingLib.training.loop.settings import applied


@dataclass(frozen=True)
class Comparator:
    """A trained comparator.

    Attributes:
        config: Its settings.
        facts: ``comparator.json``: family, cohort, budget, hashes.
        encoder: Hears the ECG.
        family: Its networks.
    """

    config: ComparatorTraining
    facts: dict[str, Any]
    encoder: EcgEncoder
    family: LatentFlow | EcgTokens

    def generate(self, anchor: SaxStack, labels: np.ndarray, cycle: EcgCycle, seed: int = 0) -> np.ndarray:
        """Return one drawn cine (T, D, H, W) float32 on the anchor's grid, the anchor itself first.

        Args:
            anchor: The still image.
            labels: (D, H, W), where the heart is.
            cycle: The analysed ECG.
            seed: Of the draw: the same for the same seed on one device.
        """
        window = window_of(anchor, labels, self.config.clips)
        device = next(self.family.generator.parameters()).device
        images = window.into(anchor.voxels[None])[:, 0].to(device)
        rng = torch.Generator(device).manual_seed(seed)
        heard = heard_in(self.encoder, cycle).of(torch.zeros(len(images), dtype=torch.long))
        heard = type(heard)(heard.embedding.to(device), heard.tokens.to(device))
        clips = self.family.sample(images, heard, self.config.clips.frames, rng).cpu()
        cine = window.out_of(clips, anchor.voxels)
        cine[0] = anchor.voxels  # it is given
        return cine


def load_comparator(run: Path | str, device: str = "cpu") -> Comparator:
    """Load a finished run.

    Raises:
        TrainingError: If the folder is none.
    """
    run = Path(run)
    facts = comparator_facts(run)
    config = applied(ComparatorTraining(), json.loads((run / SETTINGS).read_text(encoding="utf-8"))["training"])
    encoder = load_encoder(run / "ecg").eval()
    family = config.build(encoder.config.embedding)
    for stage in STAGES:
        network: torch.nn.Module = getattr(family, stage)
        network.load_state_dict(load_file(run / stage / WEIGHTS))
        network.requires_grad_(False).eval().to(device)
    return Comparator(config, facts, encoder, family)


def comparator_facts(run: Path | str) -> dict[str, Any]:
    """Return what a finished run says of itself.

    Raises:
        TrainingError: If the folder is none.
    """
    path = Path(run) / FINISHED
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"A comparator is a finished run of `cof train comparator`, with a {FINISHED}; found none in {run}. Train "
            "it, or finish it with --resume."
        ) from error
