"""A result out of the scene into one file of the user's choice; the file's ending says what it becomes.

DICOM goes into a zip, derived and marked as synthetic: a generated heart must not slip into an archive of acquisitions.
"""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from COFGeneratorLib.anatomy.nifti_writer import write_nifti
from COFGeneratorLib.cine import SYNTHETIC_MARK
from COFGeneratorLib.errors import FunctionError, MachineError, SceneError
from COFGeneratorLib.export import Heart, write_export
from COFGeneratorLib.export.heart import told
from COFGeneratorLib.scene import attributes as names
from COFGeneratorLib.scene.bootstrap import standalone_scene
from COFGeneratorLib.scene.files import write_mrb, write_sequence
from COFGeneratorLib.scene.result import EcgTrace, ResultNodes, link_result
from COFGeneratorLib.scene.tables import number_column
from COFGeneratorLib.scene.volumes import ijk_to_ras_of, index_values, new_sequence, volume_array

FORMATS = {
    ".seq.nrrd": "Slicer sequence",
    ".nii.gz": "NIfTI 4D",
    ".mrb": "Slicer scene with everything of this result",
    ".csv": "Tables of what was measured",
    ".glb": "Beating surfaces (glTF)",
    ".zip": "DICOM, derived and marked as synthetic",
    ".gif": "Film (GIF)",
    ".mp4": "Film (MP4)",
}
"""Ending and words of what a result can be saved as."""

MARK = SYNTHETIC_MARK
FILM_SLICES, FILM_HEIGHT = 3, 256
"""Slices side by side in a film, and the least height of it, pixels."""


def formats() -> dict[str, str]:
    """Return the formats that can be written on this machine: MP4 needs the program ffmpeg."""
    return {ending: words for ending, words in FORMATS.items() if ending != ".mp4" or shutil.which("ffmpeg")}


def save_result(nodes: ResultNodes, path: str | os.PathLike) -> list[Path]:
    """Write a result, complete or not at all.

    Args:
        nodes: The result.
        path: Where to; the ending chooses the format. ``.seq.nrrd`` and ``.nii.gz`` write labels and, for
            ``.seq.nrrd``, motion beside the cine.

    Returns:
        The files written.

    Raises:
        SceneError: If the ending is unknown or a file cannot be written.
    """
    path = Path(path)
    ending = next((ending for ending in FORMATS if path.name.lower().endswith(ending)), None)
    if ending is None:
        raise SceneError(
            f"A result is saved as {', '.join(FORMATS)}; found {path.name!r}. Choose one of these endings."
        )
    stem = path.name[: -len(ending)]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".cof-", dir=path.parent) as beside:
            written = _WRITERS[ending](nodes, Path(beside), stem)
            return [file.replace(path.parent / file.name) for file in written]
    except (FunctionError, MachineError) as error:
        raise SceneError(str(error)) from error
    except OSError as error:
        raise SceneError(f"{path} could not be written ({error.strerror or error}). Choose another folder.") from error


def cine_array(sequence: Any) -> np.ndarray:
    """Return the frames of a sequence of volumes, (T, D, H, W)."""
    count = sequence.GetNumberOfDataNodes()
    return np.stack([volume_array(sequence.GetNthDataNode(index)) for index in range(count)])


def _write_sequences(nodes: ResultNodes, folder: Path, stem: str) -> list[Path]:
    parts = (("cine", ""), ("labels", "-labels"), ("motion", "-motion"))
    with standalone_scene() as scene:  # the user's nodes keep the storage they have
        written = []
        for part, ending in parts:
            sequence = getattr(nodes, part)
            if sequence is not None:
                written.append(write_sequence(_copied(sequence, scene), folder / f"{stem}{ending}.seq.nrrd"))
    return written


def _write_nifti(nodes: ResultNodes, folder: Path, stem: str) -> list[Path]:
    comment = json.dumps({"synthetic": True, **names.provenance_of(nodes.cine)})
    step_ms = _rr_ms(nodes) / nodes.cine.GetNumberOfDataNodes()
    written = []
    for part, ending in (("cine", ""), ("labels", "-labels")):
        sequence = getattr(nodes, part)
        if sequence is not None:
            geometry = ijk_to_ras_of(sequence.GetNthDataNode(0))
            target = folder / f"{stem}{ending}.nii.gz"
            words = f"{MARK}, ChainOfFlow"
            written.append(
                write_nifti(target, cine_array(sequence), geometry, step_ms, description=words, comment=comment)
            )
    return written


def _heart(nodes: ResultNodes) -> Heart:
    """Return a result out of the scene as it is exported."""
    labels = None if nodes.labels is None else cine_array(nodes.labels).astype(np.uint8)
    geometry = ijk_to_ras_of(nodes.cine.GetNthDataNode(0))
    facts = told(names.provenance_of(nodes.cine))
    return Heart(
        cine_array(nodes.cine), labels, geometry, index_values(nodes.cine), _rr_ms(nodes), nodes.facts or {}, facts
    )


def _write_csv(nodes: ResultNodes, folder: Path, stem: str) -> list[Path]:
    return [path.rename(folder / f"{stem}-{path.name}") for path in write_export(_heart(nodes), folder, "csv")]


def _write_glb(nodes: ResultNodes, folder: Path, stem: str) -> list[Path]:
    made = next(path for path in write_export(_heart(nodes), folder, "mesh") if path.suffix == ".glb")
    return [made.rename(folder / f"{stem}.glb")]


def _write_dicom(nodes: ResultNodes, folder: Path, stem: str) -> list[Path]:
    images = write_export(_heart(nodes), folder, "dicom")[0].parent
    return [Path(shutil.make_archive(str(folder / stem), "zip", images))]


def _write_mrb(nodes: ResultNodes, folder: Path, stem: str) -> list[Path]:
    with standalone_scene() as scene:
        copies = [
            None if sequence is None else _copied(sequence, scene)
            for sequence in (nodes.cine, nodes.labels, nodes.motion)
        ]
        display = nodes.proxy("cine").GetDisplayNode()
        window_level = None if display is None else (display.GetWindow(), display.GetLevel())
        link_result(
            scene,
            nodes.base_name,
            *copies,
            function=nodes.facts or None,
            ecg=_ecg_of(nodes),
            provenance=names.provenance_of(nodes.cine),
            window_level=window_level,
        )
        return [write_mrb(scene, folder / f"{stem}.mrb")]


def _write_gif(nodes: ResultNodes, folder: Path, stem: str) -> list[Path]:
    frames = film(nodes)
    duration_ms = max(20, round(_rr_ms(nodes) / len(frames)))  # shorter frames are slowed down by most viewers
    target = folder / f"{stem}.gif"
    frames[0].save(
        target, save_all=True, append_images=frames[1:], duration=duration_ms, loop=0, comment=MARK.encode("ascii")
    )
    return [target]


def _write_mp4(nodes: ResultNodes, folder: Path, stem: str) -> list[Path]:
    program = shutil.which("ffmpeg")
    if program is None:
        raise SceneError("An MP4 needs the program ffmpeg; found none. Install it, or save a GIF.")
    frames = film(nodes)
    for index, frame in enumerate(frames * 5):  # five beats
        frame.save(folder / f"{index:04d}.png", compress_level=1)
    target = folder / f"{stem}.mp4"
    command = [program, "-y", "-loglevel", "error", "-framerate", f"{1000.0 * len(frames) / _rr_ms(nodes):.4f}"]
    command += ["-i", str(folder / "%04d.png"), "-pix_fmt", "yuv420p", "-metadata", f"comment={MARK}", str(target)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode != 0 or not target.is_file():
        raise SceneError(f"ffmpeg could not write the film: {done.stderr.strip() or done.returncode}. Save a GIF.")
    return [target]


def film(nodes: ResultNodes) -> list:
    """Return the frames of a film as pillow images: base, middle and apex of the heart side by side."""
    from PIL import Image, ImageDraw

    frames = cine_array(nodes.cine).astype(np.float32)
    display = nodes.proxy("cine").GetDisplayNode()
    window, level = (
        (display.GetWindow(), display.GetLevel()) if display is not None else (np.ptp(frames), frames.mean())
    )
    grey = np.clip((frames - (level - window / 2.0)) / max(window, 1e-6) * 255.0, 0, 255).astype(np.uint8)
    labels = None if nodes.labels is None else volume_array(nodes.labels.GetNthDataNode(0))
    slices = _film_slices(labels, grey.shape[1])
    spacing = np.linalg.norm(ijk_to_ras_of(nodes.cine.GetNthDataNode(0))[:3, :3], axis=0)
    height, width = grey.shape[2:]
    scale = max(1.0, FILM_HEIGHT / (height * spacing[1] / spacing[0]))
    size = (round(width * scale), round(height * scale * spacing[1] / spacing[0]))
    pictures = []
    for frame in grey:
        picture = Image.new(
            "L", (2 * (len(slices) * size[0] // 2), 2 * ((size[1] + 16) // 2))
        )  # video wants even sizes
        for place, index in enumerate(slices):
            picture.paste(Image.fromarray(frame[index]).resize(size, Image.Resampling.BICUBIC), (place * size[0], 0))
        ImageDraw.Draw(picture).text((4, size[1] + 2), MARK, fill=255)
        pictures.append(picture)
    return pictures


def _film_slices(labels: np.ndarray | None, depth: int) -> list[int]:
    """Return three slices a quarter apart over the heart, or over the stack where no labels are known."""
    held = np.arange(depth) if labels is None else np.flatnonzero((labels > 0).any(axis=(1, 2)))
    held = held if len(held) else np.arange(depth)
    places = (np.arange(1, FILM_SLICES + 1) / (FILM_SLICES + 1) * (len(held) - 1)).round().astype(int)
    return [int(held[place]) for place in dict.fromkeys(places.tolist())]


def _rr_ms(nodes: ResultNodes) -> float:
    return float(names.provenance_of(nodes.cine)["rr_ms"])


def _copied(sequence: Any, scene: Any) -> Any:
    """Return a copy of a sequence in another scene."""
    copy = new_sequence(scene, sequence.GetName())
    for index in range(sequence.GetNumberOfDataNodes()):
        copy.SetDataNodeAtValue(sequence.GetNthDataNode(index), sequence.GetNthIndexValue(index))
    for name in sequence.GetAttributeNames():
        copy.SetAttribute(name, sequence.GetAttribute(name))
    return copy


def _ecg_of(nodes: ResultNodes) -> EcgTrace | None:
    """Return the ECG of a result out of its tables."""
    if nodes.ecg_12 is None or nodes.ecg is None:
        return None
    table = nodes.ecg_12
    leads = [table.GetColumnName(index) for index in range(1, table.GetNumberOfColumns())]
    time_ms, peaks_ms = number_column(table, "time"), number_column(nodes.ecg, "triggerTimes")
    fs_hz = 1000.0 * (len(time_ms) - 1) / (time_ms[-1] - time_ms[0])
    signal_mv = np.stack([number_column(table, lead) for lead in leads])
    return EcgTrace(signal_mv, fs_hz, tuple(leads), peaks_ms[np.isfinite(peaks_ms)])


_WRITERS = {
    ".seq.nrrd": _write_sequences,
    ".nii.gz": _write_nifti,
    ".mrb": _write_mrb,
    ".csv": _write_csv,
    ".glb": _write_glb,
    ".zip": _write_dicom,
    ".gif": _write_gif,
    ".mp4": _write_mp4,
}
