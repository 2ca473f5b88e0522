"""PA-MAE under the contract of every ECG encoder of the product: a raw record in, an embedding and tokens out."""

from pathlib import Path

import numpy as np
import torch

from COFGeneratorLib.ecg.record import EcgRecord
from COFGeneratorLib.ecgflowcmr.bundle import load_ecgflow_bundle
from COFGeneratorLib.ecgflowcmr.cycles import find_cycles, padded_bounds, resample_cycles
from COFGeneratorLib.ecgflowcmr.model import MOST_CYCLES
from COFGeneratorLib.ecgflowcmr.pa_mae import PaMae, prepare_record
from COFGeneratorLib.generator.encoders.signals import EcgEmbedding

CYCLE_TOKENS = 50


class PaMaeEncoder:
    """A trained PA-MAE as ``AnyEcgEncoder``; tokens are those of the mean complete cycle, token 0 at R."""

    def __init__(self, pa_mae: PaMae) -> None:
        self.pa_mae = pa_mae.eval()

    @classmethod
    def of_bundle(cls, folder: Path | str) -> "PaMaeEncoder":
        """Return the fine-tuned encoder of a bundle.

        Raises:
            BundleError: If the bundle cannot be used.
        """
        return cls(load_ecgflow_bundle(folder).model.amdf.pa_mae)

    @torch.no_grad()
    def encode(self, ecg_mv: np.ndarray, fs_hz: float) -> EcgEmbedding:
        """Return the embedding (d,) and the tokens (50, d) of a raw record (12, L) mV.

        Raises:
            EcgError: If the record is too short or has no complete cycle.
        """
        signal = prepare_record(EcgRecord(ecg_mv, fs_hz))
        tokens, phase = self.pa_mae.encode(torch.from_numpy(signal)[None])
        bounds, _ = padded_bounds([find_cycles(phase[0].numpy())], MOST_CYCLES)
        cycle = resample_cycles(tokens, bounds, CYCLE_TOKENS)[0].mean(dim=0)
        return EcgEmbedding(cycle.mean(dim=0), cycle)
