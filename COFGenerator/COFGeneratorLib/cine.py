"""The product's result: a synthetic cine in the anchor's own geometry, with its motion and read-outs."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from COFGeneratorLib.anatomy.compact import compact_frames
from COFGeneratorLib.anatomy.nifti_writer import write_nifti
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.ecg.cycle import EcgCycle
from COFGeneratorLib.ecg.record import EcgRecord
from COFGeneratorLib.errors import ChainOfFlowError, EcgError, MotionError
from COFGeneratorLib.files import replacing
from COFGeneratorLib.folders import whole_folder
from COFGeneratorLib.function import FunctionReport, write_function

SYNTHETIC_MARK = "SYNTHETIC - research only"
"""Stands in the header of every file that holds a generated image."""
CINE_FILE, LABELS_FILE = "cine.nii.gz", "labels.nii.gz"
SAVED = {CINE_FILE, LABELS_FILE, "function.json", "function.csv"}


class MotionSource(Protocol):
    """Gives the pull displacement of one frame on the anchor's grid."""

    def displacement_mm(self, frame: int) -> np.ndarray: ...


@dataclass(frozen=True, repr=False)
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

    def to_nifti(self, path: str | os.PathLike) -> Path:
        """Write the frames as NIfTI 4D (``.nii.gz``), marked as synthetic, and return the path.

        Complete or not at all; a file of that name is replaced.
        """
        return self._nifti(Path(path), compact_frames(self.frames, self.anchor.voxels))

    def save(self, folder: str | os.PathLike, overwrite: bool = False) -> Path:
        """Write ``cine.nii.gz`` and, with labels, ``labels.nii.gz`` and the read-outs, and return the folder.

        It appears when it is complete. The scene, pictures and other formats are ``results.write_result``'s.

        Args:
            folder: Absent or empty.
            overwrite: Allow one that holds something; files of other names in it stay.

        Raises:
            ChainOfFlowError: If it holds something else, or cannot be written.
        """
        out = Path(folder)
        if not overwrite and out.is_dir() and any(out.iterdir()):
            raise ChainOfFlowError(
                f"A cine is saved into an empty folder; found files in {out}. Choose another, or allow it with "
                "overwrite=True."
            )
        with whole_folder(out, lambda _: SAVED) as staging:
            self.to_nifti(staging / CINE_FILE)
            if self.labels is not None:
                self._nifti(staging / LABELS_FILE, self.labels.astype(np.uint8))
            if self.function is not None:
                write_function(self.function, staging, samples=self.samples)
        return out

    def _nifti(self, path: Path, frames: np.ndarray) -> Path:
        step_ms = self.rr_ms / len(self.time_ms)
        comment = json.dumps({"synthetic": True, "rr_ms": self.rr_ms, **self.provenance}, default=str)
        with replacing(path) as beside:
            write_nifti(
                beside, frames, self.anchor.ijk_to_ras, step_ms, description=f"{SYNTHETIC_MARK}, ChainOfFlow",
                comment=comment,
            )  # fmt: skip
        return path

    def __repr__(self) -> str:
        """Return one line: how much of what there is."""
        ef = "" if self.function is None else f", EF {self.function.ef_percent:.0f} %"
        depth, height, width = self.anchor.shape
        return f"Cine({len(self.time_ms)} frames of {depth}×{height}×{width} over {self.rr_ms:.0f} ms{ef}, synthetic)"
