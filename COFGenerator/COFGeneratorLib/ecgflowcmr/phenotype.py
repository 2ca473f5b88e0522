"""What an ECG says of a heart in numbers: a small head on PA-MAE's mean cycle. The paper has none; it is optional.

Masked restoration and phase need no knowledge of how strongly a heart contracts, and a small encoder does not learn it
from them. A head that is told learns it from ECGs alone, which are cheap, and the flow then needs few cines to use it.
"""

import torch
from torch import nn
from torch.nn import functional

from COFGeneratorLib.errors import BundleError

UNITS = {"ef": (0.55, 0.10), "t_es_over_rr": (0.38, 0.045), "qrsd_ms": (100.0, 22.0), "infarct_extent": (0.08, 0.10)}
"""Centre and scale of each phenotype: the head answers in these units, so that 0 is the usual heart."""
POSITIONS, CHANNELS = 25, 12
"""Timing within the cycle must survive: positions are kept and channels squeezed, instead of a mean over time."""


class PhenotypeHead(nn.Module):
    """Reads phenotypes from the mean cycle.

    Args:
        tokens: Width of a token.
        names: Among ``UNITS``.
        hidden: Width of the hidden layer.

    Raises:
        BundleError: If a phenotype is not known.
    """

    def __init__(self, tokens: int, names: tuple[str, ...], hidden: int) -> None:
        super().__init__()
        unknown = [name for name in names if name not in UNITS]
        if unknown:
            raise BundleError(f"Phenotypes are {', '.join(UNITS)}; found {unknown[0]!r}. Name some of them.")
        self.names = tuple(names)
        self.squeeze = nn.Conv1d(tokens, CHANNELS, 1)
        self.read = nn.Sequential(nn.Linear(CHANNELS * POSITIONS + 1, hidden), nn.SiLU(), nn.Linear(hidden, len(names)))

    def forward(self, cycle: torch.Tensor, rate: torch.Tensor) -> torch.Tensor:
        """Return (B, phenotypes) in standard units.

        Args:
            cycle: (B, n, tokens) mean cycle, token 0 at R.
            rate: (B, 1) of ``rate_scalars``: a cycle brought to n tokens no longer tells how long it was.
        """
        kept = functional.adaptive_avg_pool1d(self.squeeze(cycle.transpose(1, 2)), POSITIONS)
        return self.read(torch.cat([functional.silu(kept).flatten(1), rate], dim=1))

    def in_units(self, reading: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return a reading (B, phenotypes) by name, each (B,), in its own unit."""
        return {name: UNITS[name][0] + UNITS[name][1] * reading[:, at] for at, name in enumerate(self.names)}

    def standard(self, values: torch.Tensor) -> torch.Tensor:
        """Return values (B, phenotypes) of the order of ``names`` in standard units; NaN stays NaN."""
        centre, scale = values.new_tensor([UNITS[name] for name in self.names]).unbind(1)
        return (values - centre) / scale
