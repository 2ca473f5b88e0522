"""The product's result: a synthetic cine in the anchor's own geometry, with its motion and read-outs."""

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.ecg.cycle import EcgCycle
from COFGeneratorLib.ecg.record import EcgRecord
from COFGeneratorLib.errors import EcgError, MotionError
from COFGeneratorLib.function import FunctionReport


class MotionSource(Protocol):
    """Gives the pull displacement of one frame on the anchor's grid."""

    def displacement_mm(self, frame: int) -> np.ndarray: ...


@dataclass(frozen=True)
class Cine:
    """A generated beating heart.

    Attributes:
        frames: (T, D, H, W) float32 in the anchor's intensity unit; the frame of the anchor's phase (0, the R wave,
            unless it was said to be another) is the anchor itself.
        time_ms: (T,) time from the R wave, ms; periodic over ``rr_ms``.
        rr_ms: Length of the cycle, ms.
        anchor: The stack that was warped; its ``ijk_to_ras`` is the cine's geometry.
        motion: Source of displacements; None for an image generated as such, not by moving an anchor.
        labels: (T, D, H, W) uint8 (0 background, 1 LV, 2 myocardium, 3 RV) or None.
        labels_from: ``"user"``, ``"segmenter"``, ``"user+segmenter"`` (given, and completed) or ``"none"``.
        function: Measured function or None where no labels are known.
        record, cycle: The ECG that drove the motion; None where the motion was measured.
        provenance: JSON-able facts: versions, model id, weights hash, input hashes, seed, solver, device, warnings.
        samples: Function reports of further draws, where asked for.
    """

    frames: np.ndarray
    time_ms: np.ndarray
    rr_ms: float
    anchor: SaxStack
    motion: MotionSource | None
    labels: np.ndarray | None
    labels_from: str
    function: FunctionReport | None
    record: EcgRecord | None
    cycle: EcgCycle | None
    provenance: dict[str, Any] = field(default_factory=dict)
    samples: tuple[FunctionReport, ...] = ()

    @property
    def ecg(self) -> tuple[EcgRecord, EcgCycle]:
        """The record and the cycle that drove the motion.

        Raises:
            EcgError: If none did.
        """
        if self.record is None or self.cycle is None:
            raise EcgError("A cine that an ECG drives is needed; this one's motion was measured. Generate one.")
        return self.record, self.cycle

    def displacement_mm(self, frame: int) -> np.ndarray:
        """Return the pull displacement of a frame, (3, D, H, W), mm along the stack's own axes (k, j, i).

        ``frames[t](x) = anchor(x + u_t(x))``; zero for the anchor's frame.

        Raises:
            MotionError: If nothing was moved.
        """
        if self.motion is None:
            raise MotionError("A displacement belongs to an anchor that was moved; this cine was drawn without one.")
        return self.motion.displacement_mm(frame)
