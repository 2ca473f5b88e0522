"""The files of one phantom subject: anchor, exact labels, ECG, truth, and on request every frame."""

import hashlib
import json
import math
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from COFGeneratorLib.ecg.record import LEADS, EcgRecord
from COFGeneratorLib.function import end_systole, measure_function

from COFTrainingLib.cohort.manifest import Subject
from COFTrainingLib.cohort.nrrd import write_nrrd
from COFTrainingLib.cohort.synthetic.phantom_images import CaseRenderer, render_case
from COFTrainingLib.phantom.cases import PhantomCase, draw_case
from COFTrainingLib.phantom.physiology import Physiology
from COFTrainingLib.phantom.prevalence import Prevalence
from COFTrainingLib.phantom.pump import expected_ef
from COFTrainingLib.phantom.subject import PhantomSubject, draw_subject
from COFTrainingLib.phantom.volume_curve import end_systole_ms

CURVE_POINTS = 50
GAIN_PER_MV = 1000
"""Of the ECG's samples: 1 µV a step, ±32 mV."""
FACTS = ("sex", "age_years", "hr_bpm", "conduction", "infarct_territory", "infarct_extent", "atrial_fibrillation",
         "hypertrophy")  # fmt: skip


@dataclass(frozen=True)
class PhantomOptions:
    """What is made of every subject.

    Args:
        prevalence: How often findings occur.
        cines: Also write image, labels and displacement of every frame.
        frames: Frames of a cine.
        spacing_mm: (slice pitch, pixel) mm; drawn for every subject where None.
    """

    prevalence: Prevalence
    cines: bool = False
    frames: int = 50
    spacing_mm: tuple[float, float] | None = None


def subject_id(seed: int) -> str:
    """Return the name of the phantom of a seed."""
    return f"phantom-{seed:06d}"


def subject_facts(subject: PhantomSubject) -> dict[str, Any]:
    """Return what the manifest says of a subject: the findings and the exact function."""
    curve = truth_curve(subject)
    facts = {name: _plain(getattr(subject.physiology, name)) for name in FACTS}
    names = ("edv_ml", "esv_ml", "ef_percent", "es_time_ms")
    return {
        "seed": subject.seed,
        **facts,
        "family": subject.heart.shape.family,
        **{name: round(curve[name], 3) for name in names},
    }


def truth_curve(subject: PhantomSubject, points: int = CURVE_POINTS) -> dict[str, Any]:
    """Return the LV's volume over one beat from the closed form, and what follows from it."""
    rr_ms = subject.physiology.rr_ms
    time_ms = np.arange(points) / points * rr_ms
    volume = subject.heart.lv_volume_ml(time_ms)
    es = end_systole(volume, rr_ms)
    edv, esv = float(volume.max()), float(volume.min())
    return {
        "rr_ms": rr_ms,
        "time_ms": [round(float(t), 3) for t in time_ms],
        "lv_volume_ml": [round(float(v), 4) for v in volume],
        "edv_ml": edv,
        "esv_ml": esv,
        "sv_ml": edv - esv,
        "ef_percent": 100.0 * (edv - esv) / edv,
        "es_time_ms": es.time_ms,
        "es_argmin_frame": es.argmin_frame,
    }


def expected_from_ecg(physiology: Physiology) -> dict[str, float]:
    """Return what a perfect reader of the ECG expects: EF before the noise that no ECG shows, and the exact ES."""
    expected = expected_ef(physiology.contractility, physiology.infarct_extent, physiology.dyssynchrony_ms)
    return {"ef_percent": 100.0 * float(expected), "es_time_ms": end_systole_ms(physiology)}


def planned_subject(seed: int, options: PhantomOptions, split: str) -> Subject:
    """Return the manifest's line of a subject of which no file is written."""
    name = subject_id(seed)
    return Subject(name, name, split, {}, subject_facts(draw_subject(seed, options.prevalence)))


def write_subject(root: Path, seed: int, options: PhantomOptions, split: str) -> Subject:
    """Write a subject's folder, complete or not at all, unless it is there; returns its line of the manifest."""
    name = subject_id(seed)
    folder = root / "subjects" / name
    line = folder / "subject.json"
    if line.is_file():
        return Subject(**json.loads(line.read_text(encoding="utf-8")))
    beside = folder.with_name(f".{name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        case = draw_case(seed, options.spacing_mm, prevalence=options.prevalence)
        files = _write_files(beside, case, options)
        facts = subject_facts(case.subject)
        facts |= {"spacing_mm": [round(float(s), 4) for s in case.anchor.spacing_mm], "slices": case.anchor.shape[0],
                  "label_map": {"lv": 1, "myo": 2, "rv": 3}, "anchor_frame": 0}  # fmt: skip
        hashes = {role: hashlib.sha256((beside / file).read_bytes()).hexdigest() for role, file in files.items()}
        listed = {role: f"subjects/{name}/{file}" for role, file in files.items()}
        subject = Subject(name, name, split, listed, facts, sha256=hashes)
        (beside / "subject.json").write_text(json.dumps(asdict(subject), indent=1), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return subject


def _write_files(folder: Path, case: PhantomCase, options: PhantomOptions) -> dict[str, str]:
    """Write a subject's files; returns their names by role."""
    rr_ms = case.subject.physiology.rr_ms
    matrix = case.plan.ijk_to_ras
    times = np.arange(options.frames) / options.frames * rr_ms if options.cines else np.zeros(1)
    if options.cines:
        images, labels, displacement = _all_frames(case, times)
    else:
        images = render_case(case, times)
    write_nrrd(folder / "anchor.nrrd", images[0], matrix)
    write_nrrd(folder / "labels.nrrd", case.labels, matrix)
    write_ecg(folder, case.record)
    files = {"anchor": "anchor.nrrd", "labels": "labels.nrrd", "ecg": "ecg.hea", "truth": "truth.json"}
    truth = {
        "seed": case.subject.seed,
        "physiology": {name: _plain(value) for name, value in asdict(case.subject.physiology).items()},
        "function": truth_curve(case.subject),
        "expected_from_ecg": expected_from_ecg(case.subject.physiology),
    }
    if options.cines:
        write_nrrd(folder / "cine.seq.nrrd", images, matrix, times)
        write_nrrd(folder / "cine_labels.seq.nrrd", labels, matrix, times)
        np.save(folder / "displacement.npy", displacement)
        files |= {"cine": "cine.seq.nrrd", "cine_labels": "cine_labels.seq.nrrd", "displacement": "displacement.npy"}
        report = measure_function(
            labels, matrix, times, rr_ms=rr_ms, hr_bpm=60000.0 / rr_ms, labels_from="user", folded_fraction=0.0
        )
        truth["function_of_labels"] = report.as_dict()
    (folder / "truth.json").write_text(json.dumps(truth, indent=1), encoding="utf-8")
    return files


def _all_frames(case: PhantomCase, times_ms: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return images (T, D, H, W) int16, exact labels of the same shape and pull displacements (T, 3, D, H, W) mm.

    The displacement's components lie along the stack's own (k, j, i) axes; it is the tissue's, so between slices that
    breath-holds shifted apart it does not account for the shift.
    """
    points, heart = case.plan.heart_points(), case.subject.heart
    steps = (case.plan.ras_to_heart @ case.plan.ijk_to_ras)[:3, [2, 1, 0]]
    axes = steps / np.linalg.norm(steps, axis=0)  # columns: the stack's k, j, i in the heart's axes
    renderer, shape = CaseRenderer(case.subject, case.plan), (len(times_ms), *case.plan.shape)
    images, labels = np.empty(shape, dtype=np.int16), np.empty(shape, dtype=np.uint8)
    displacement = np.zeros((len(times_ms), 3, *case.plan.shape), dtype=np.float16)
    for index, time_ms in enumerate(times_ms.tolist()):
        pull = heart.pull_mm(points, time_ms) if time_ms else np.zeros_like(points)
        displacement[index] = np.moveaxis(pull @ axes, -1, 0)
        labels[index] = heart.label_at(points + pull) if time_ms else case.labels
        images[index] = renderer.frame(time_ms, points + pull)
    return images, labels, displacement


def case_labels(case: PhantomCase, times_ms: np.ndarray) -> np.ndarray:
    """Return the exact labels of a case, (T, D, H, W) uint8; the first time is that of its anchor."""
    points = case.plan.heart_points()
    later = [case.subject.heart.label_at(points, float(time_ms)) for time_ms in times_ms[1:]]
    return np.stack([case.labels, *later])


def write_ecg(folder: Path, record: EcgRecord, name: str = "ecg") -> None:
    """Write a record in the WFDB format: ``NAME.hea`` and ``NAME.dat``."""
    import wfdb

    steps = np.clip(np.round(record.signal_mv.T * GAIN_PER_MV), -32000, 32000).astype(np.int64)
    wfdb.wrsamp(name, record.fs_hz, ["mV"] * 12, list(LEADS), d_signal=steps, fmt=["16"] * 12,
                adc_gain=[GAIN_PER_MV] * 12, baseline=[0] * 12, write_dir=str(folder))  # fmt: skip


def _plain(value: Any) -> Any:
    """Return a value for JSON: NaN (a PR interval in atrial fibrillation) becomes None."""
    if isinstance(value, float | np.floating):
        return None if math.isnan(value) else round(float(value), 6)
    return value.item() if isinstance(value, np.generic) else value
