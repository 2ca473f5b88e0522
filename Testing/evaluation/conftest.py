"""A tiny recorded cohort on disk: boxes that beat, one subject broken, with predictions of another method."""

import json

import numpy as np
import pytest
from COFTrainingLib.cohort.manifest import Cohort, CohortHeader, Subject, write_cohort
from COFTrainingLib.cohort.nrrd import write_nrrd
from COFTrainingLib.cohort.synthetic.phantom_files import write_ecg
from COFTrainingLib.phantom.electrocardiogram import synthesise_ecg
from COFTrainingLib.phantom.physiology import draw_physiology

FRAMES, PIXEL, PITCH = 8, 2.0, 10.0


def beating_labels(strength: float, frames: int = FRAMES) -> np.ndarray:
    """Return (T, D, H, W) labels of a tapered LV in a wall beside an RV, whose cavity shrinks by ``strength``."""
    y, x = np.mgrid[:48, :48] - 24.0
    labels = np.zeros((frames, 6, 48, 48), dtype=np.uint8)
    for t in range(frames):
        squeeze = 1.0 - strength * np.sin(np.pi * t / frames) ** 2
        for k in range(6):
            radius = np.hypot(y, x)
            rv = (np.hypot(y, (x + 15) / 0.8) < 9 - k) & (radius > 14 - k)
            labels[t, k][rv] = 3
            labels[t, k][radius < 13 - k] = 2
            labels[t, k][radius < (9 - k) * squeeze] = 1
    return labels


@pytest.fixture(scope="session")
def tiny_cohort(tmp_path_factory):
    """Four subjects with cines and labels; the third one's cine is damaged."""
    root = tmp_path_factory.mktemp("tiny")
    matrix = np.diag([PIXEL, PIXEL, PITCH, 1.0])
    rng, subjects = np.random.default_rng(0), []
    for n in range(4):
        folder = root / f"s{n}"
        folder.mkdir()
        labels = beating_labels(0.35 + 0.05 * n)
        cine = (np.array([40, 200, 90, 190])[labels] + rng.integers(0, 9, labels.shape)).astype(np.int16)
        times = np.arange(FRAMES) * 110.0
        write_nrrd(folder / "cine.seq.nrrd", cine, matrix, times)
        write_nrrd(folder / "labels.seq.nrrd", labels, matrix, times)
        record, _ = synthesise_ecg(draw_physiology(rng, hr_bpm=68.0, atrial_fibrillation=False), rng)
        write_ecg(folder, record)
        files = {"cine": f"s{n}/cine.seq.nrrd", "cine_labels": f"s{n}/labels.seq.nrrd", "ecg": f"s{n}/ecg.hea"}
        subjects.append(Subject(f"s{n}", f"s{n}", "test", files, {"sex": "mf"[n % 2], "age_years": 50 + n}))
    (root / "s2" / "cine.seq.nrrd").write_bytes(b"NRRD0005\nthis is no header\n\n")
    write_cohort(Cohort(root, CohortHeader("tiny", "table"), tuple(subjects)))
    return root


@pytest.fixture(scope="session")
def own_cines_as_predictions(tiny_cohort, tmp_path_factory):
    """The recorded cines given back as somebody's predictions: a method without any error; none for the last one."""
    folder = tmp_path_factory.mktemp("perfect")
    for n in (0, 1):
        (folder / f"s{n}").mkdir()
        for name, source in (("cine", "cine"), ("labels", "labels")):
            (folder / f"s{n}" / f"{name}.seq.nrrd").write_bytes(
                (tiny_cohort / f"s{n}" / f"{source}.seq.nrrd").read_bytes()
            )
    return folder


@pytest.fixture
def read_json():
    """Return a function that reads a JSON file."""
    return lambda path: json.loads(path.read_text(encoding="utf-8"))
