"""What is exported: a generated heart out of memory or out of a result folder."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from COFGeneratorLib import __version__
from COFGeneratorLib.anatomy.compact import compact_frames
from COFGeneratorLib.anatomy.readers.payload import read_frames
from COFGeneratorLib.anatomy.readers.volume import open_volume
from COFGeneratorLib.cine import SYNTHETIC_MARK, Cine
from COFGeneratorLib.errors import ChainOfFlowError

CINE_FILE, LABELS_FILE, READ_OUTS_FILE, FACTS_FILE = "cine.seq.nrrd", "labels.seq.nrrd", "function.json", "run.json"
TOLD = ("notice", "model", "weights_sha256", "seed", "solver", "steps", "cine", "labels_from", "method")
"""Facts of a run that go into every export, where there are such."""


@dataclass(frozen=True)
class Heart:
    """A generated heart, ready to be written.

    Attributes:
        frames: (T, D, H, W) intensities, integers where the anchor's were.
        labels: (T, D, H, W) uint8 (1 LV cavity, 2 myocardium, 3 RV cavity) or None.
        ijk_to_ras: (4, 4) geometry, mm.
        time_ms: (T,) ms from the R wave.
        rr_ms: Length of the cycle, ms.
        read_outs: The content of ``function.json``; empty where nothing was measured.
        facts: Model, weights, seed and the like; nothing of a person or a file.
    """

    frames: np.ndarray
    labels: np.ndarray | None
    ijk_to_ras: np.ndarray
    time_ms: np.ndarray
    rr_ms: float
    read_outs: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, cine: Cine, read_outs: Mapping[str, Any] | None = None) -> "Heart":
        """Return a cine as it is exported; ``read_outs`` replace those that the cine itself has."""
        measured = cine.function.as_dict() if cine.function is not None else {}
        labels = None if cine.labels is None else cine.labels.astype(np.uint8)
        return cls(
            compact_frames(cine.frames, cine.anchor.voxels), labels, cine.anchor.ijk_to_ras,
            np.asarray(cine.time_ms, dtype=float), float(cine.rr_ms), read_outs or measured, told(cine.provenance),
        )  # fmt: skip

    @property
    def step_ms(self) -> float:
        """Time from frame to frame, ms."""
        return self.rr_ms / len(self.time_ms)

    def statement(self) -> dict[str, Any]:
        """Return what every export says of itself, JSON-able."""
        return {
            "synthetic": True, "mark": SYNTHETIC_MARK, "made_by": f"ChainOfFlow {__version__}", "rr_ms": self.rr_ms,
            "time_ms": [round(float(time), 3) for time in self.time_ms], **self.facts,
        }  # fmt: skip


def read_heart(folder: str | os.PathLike) -> Heart:
    """Read the result that ``cof generate`` wrote into a folder.

    Raises:
        ChainOfFlowError: If the folder holds no complete result, or its files do not belong together.
        AnatomyError: If one of them is damaged.
    """
    place = Path(folder)
    facts = _json(place / FACTS_FILE)
    if facts.get("product") != "ChainOfFlow" or not (place / CINE_FILE).is_file():
        raise ChainOfFlowError(
            f"A folder that cof generate wrote, with {CINE_FILE}, is needed; found none in {place.name or place}. Name "
            "that folder, or generate again with --write cine,labels,function."
        )
    frames, ijk_to_ras, times_ms = _sequence(place / CINE_FILE)
    labels = None
    if (place / LABELS_FILE).is_file():
        labels, labels_to_ras, _ = _sequence(place / LABELS_FILE)
        if labels.shape != frames.shape or not np.allclose(labels_to_ras, ijk_to_ras, atol=1e-3):
            raise ChainOfFlowError(
                f"The labels must lie on the grid of the cine; found {labels.shape} for {frames.shape}. Generate again."
            )
        labels = labels.astype(np.uint8)
    if len(times_ms) != len(frames) or len(frames) < 2:
        raise ChainOfFlowError(
            f"A cine has one time a frame; found {len(times_ms)} for {len(frames)} frames. Generate again."
        )
    time_ms = np.asarray(times_ms, dtype=float)
    rr_ms = float(time_ms[-1] - time_ms[0]) * len(frames) / (len(frames) - 1)  # frames are even over one R–R
    return Heart(frames, labels, ijk_to_ras, time_ms, rr_ms, _json(place / READ_OUTS_FILE), told(facts))


def told(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return those facts of a run that an export tells."""
    return {name: facts[name] for name in TOLD if isinstance(facts.get(name), str | int | float)}


def _sequence(path: Path) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    """Return (T, D, H, W) as stored, the geometry, and the times of the frames, ms."""
    _, header = open_volume(path)
    return read_frames(header, None).reshape(-1, *header.shape), header.ijk_to_ras, header.frame_times_ms


def _json(path: Path) -> dict[str, Any]:
    """Return an object out of a file; an empty one where there is no such file, or it holds something else."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
