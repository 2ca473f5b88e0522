"""Clips that another generator made, taken from a folder: one or more a subject, on the model's grid afterwards.

``DIR/ID.*`` or ``DIR/ID_2.*`` (a further clip of the same subject): a NumPy array (T, H, W), uint8 or 0…1, at the
grid's pixel size, or a NIfTI or MetaImage file: (x, y, time), or (x, y, slices, time), whose middle slice counts.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from COFGeneratorLib.ecgflowcmr.model import PlaneGrid
from COFGeneratorLib.errors import CohortError

from COFTrainingLib.phantom.planes import to_grey
from COFTrainingLib.training.ecgflowcmr.cohort_clips import resample

ENDINGS = (".npy", ".nii.gz", ".nii", ".mha", ".mhd")


def given_clips(folder: Path | str, names: Sequence[str], grid: PlaneGrid) -> tuple[torch.Tensor, np.ndarray]:
    """Return the clips of a folder (M, T, H, W) uint8, first ones first, and (M,) whose each is, a place in ``names``.

    Raises:
        CohortError: If no file belongs to a subject, or one cannot be used.
    """
    folder = Path(folder)
    places = {name: place for place, name in enumerate(names)}
    found = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        ending = next((ending for ending in ENDINGS if path.name.lower().endswith(ending)), None)
        if ending is not None:
            name, turn = _owner(path.name[: -len(ending)], places)
            if name is not None:
                found.append((turn, places[name], path))
    if not found:
        raise CohortError(
            f"Clips are named after subjects, ID.npy or ID_2.nii.gz; found none of {len(names)} subjects in {folder}. "
            "Rename them."
        )
    found.sort(key=lambda one: one[:2])  # every subject's first clip before anybody's second
    clips = torch.from_numpy(np.stack([_clip(path, grid) for *_, path in found]))
    return clips, np.array([place for _, place, _ in found])


def _owner(stem: str, places: dict[str, int]) -> tuple[str | None, int]:
    """Return whose clip a file is, and which of theirs."""
    if stem in places:
        return stem, 1
    match = re.fullmatch(r"(.+)_(\d+)", stem)
    return (match[1], int(match[2])) if match is not None and match[1] in places else (None, 0)


def _clip(path: Path, grid: PlaneGrid) -> np.ndarray:
    """Return one clip (T, H, W) uint8."""
    try:
        if path.suffix.lower() == ".npy":
            frames, spacing = np.load(path, allow_pickle=False), np.full(2, grid.pixel_mm)
        else:
            frames, spacing = _plane(path)
    except (OSError, ValueError, RuntimeError) as error:  # SimpleITK raises the last one
        raise CohortError(
            f"A clip is a NumPy array, NIfTI or MetaImage; reading {path.name} failed ({error}). Write it again."
        ) from error
    if frames.ndim != 3 or len(frames) < 2 or not np.isfinite(frames).all():
        raise CohortError(
            f"A clip has finite numbers (T, H, W); found shape {frames.shape} in {path.name}. Write it again."
        )
    if frames.dtype == np.uint8 and frames.shape == (grid.frames, grid.size, grid.size):
        return np.ascontiguousarray(frames)
    centre = (np.array(frames.shape[1:]) - 1) / 2
    return to_grey(resample(frames.astype(np.float32), spacing, centre, grid))


def _plane(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the frames (T, h, w) of an image file's middle slice, and its spacing (row, column), mm."""
    import SimpleITK as sitk

    image = sitk.ReadImage(str(path))
    frames, spacing = sitk.GetArrayFromImage(image), np.array(image.GetSpacing()[1::-1])
    return (frames[:, frames.shape[1] // 2] if frames.ndim == 4 else frames), spacing
