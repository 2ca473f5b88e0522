"""A synthetic patient on disk and a bundle of small untrained networks: what is tested is the command line itself."""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from COFGeneratorLib.ecg.record import LEADS
from COFTrainingLib.cli import main

RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Patient:
    """Files of a patient."""

    folder: Path
    anchor: Path
    labels: Path
    ecg: Path


def write_volume(path: Path, voxels: np.ndarray, ijk_to_ras: np.ndarray) -> None:
    """Write (D, H, W) voxels with their geometry."""
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(voxels)
    spacing = np.linalg.norm(ijk_to_ras[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((RAS_TO_LPS @ ijk_to_ras[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin((RAS_TO_LPS @ ijk_to_ras[:3, 3]).tolist())
    sitk.WriteImage(image, str(path))


def write_ecg(path: Path, signal_mv: np.ndarray, fs_hz: float = 500.0, leads=LEADS) -> None:
    """Write an ECG in the CSV layout."""
    header = f"# fs_hz: {fs_hz}\n# unit: mV\n{','.join(leads)}\n"
    rows = "\n".join(",".join(f"{value:.4f}" for value in row) for row in signal_mv.T)
    path.write_text(header + rows + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def write():
    """Return the writers of volumes and ECGs."""
    return argparse.Namespace(volume=write_volume, ecg=write_ecg)


@pytest.fixture(scope="session")
def a_patient(tmp_path_factory) -> Patient:
    """Return a phantom patient's files."""
    from COFTrainingLib.phantom.electrocardiogram import synthesise_ecg
    from COFTrainingLib.phantom.subject import draw_subject, plan_stack

    folder = tmp_path_factory.mktemp("patient")
    patient = Patient(folder, folder / "anchor.nrrd", folder / "labels.nrrd", folder / "ecg.csv")
    subject, rng = draw_subject(12, infarct_territory="", conduction="", hr_bpm=70.0), np.random.default_rng(4)
    plan = plan_stack(subject, rng, spacing_mm=(10.0, 2.0), fov_mm=200.0)
    labels = subject.heart.label_at(plan.heart_points())
    voxels = np.array([70.0, 420.0, 120.0, 390.0])[labels] + rng.normal(0, 10, labels.shape)
    write_volume(patient.anchor, voxels.astype(np.float32), plan.ijk_to_ras)
    write_volume(patient.labels, labels.astype(np.uint8), plan.ijk_to_ras)
    write_ecg(patient.ecg, synthesise_ecg(subject.physiology, rng)[0].signal_mv)
    return patient


def write_small_bundle(folder: Path) -> Path:
    """Write a bundle whose networks are small and untrained, and return its folder."""
    import torch
    from COFGeneratorLib.generator.bundle import save_bundle
    from COFGeneratorLib.generator.model import MotionModel
    from COFGeneratorLib.generator.networks.ecg_encoder import EcgEncoder, EcgEncoderConfig
    from COFGeneratorLib.generator.networks.expected_flow import ExpectedFlow, ExpectedFlowConfig
    from COFGeneratorLib.generator.networks.grid import MotionGrid
    from COFGeneratorLib.generator.networks.pack import PackScale

    from support.tiny_bundle import with_a_basis

    torch.manual_seed(0)
    grid = MotionGrid()
    model = MotionModel(
        grid,
        EcgEncoder(EcgEncoderConfig()),
        PackScale((1.0, 1.0, 1.0)),
        with_a_basis(
            ExpectedFlow(
                grid, ExpectedFlowConfig(widths=(8, 8, 8), blocks=1, modes=2, hidden=16, components=4, patterns=4)
            )
        ),
    )
    facts = {"name": "tiny", "version": "0.0.1", "licence": "Apache-2.0", "intended_use": "tests"}
    save_bundle(folder, model, facts)
    return folder


@pytest.fixture(scope="session")
def a_bundle(tmp_path_factory) -> Path:
    """Return a bundle whose networks are small and untrained."""
    return write_small_bundle(tmp_path_factory.mktemp("models") / "tiny")


@dataclass(frozen=True)
class Run:
    """What a command did."""

    code: int
    out: str
    err: str


@pytest.fixture
def cof(capsys):
    """Return a function that runs ``cof`` in this process."""

    def run(*words) -> Run:
        capsys.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:  # argparse
            code = stop.code
        said = capsys.readouterr()
        return Run(code, said.out, said.err)

    return run


@pytest.fixture
def generate_words(a_patient, a_bundle):
    """Return the words of a good ``cof generate`` without ``--out``; keyword arguments change or drop (None) them."""

    def words(**changes):
        options = {
            "anchor": a_patient.anchor, "ecg": a_patient.ecg, "labels": a_patient.labels, "model": a_bundle,
            "label_map": "lv=1,myo=2,rv=3", "frames": 8, "device": "cpu", **changes,
        }  # fmt: skip
        flat = [("--" + name.replace("_", "-"), value) for name, value in options.items() if value is not None]
        return ["generate", *(word for pair in flat for word in pair)]

    return words


@pytest.fixture
def read_outs_alone(monkeypatch) -> None:
    """Let commands write what was measured and leave out pictures and scene, which take most of their time."""
    from COFGeneratorLib import figures, scene

    monkeypatch.setattr(figures, "write_preview", lambda *_, **__: [])
    monkeypatch.setattr(scene, "write_scene", lambda *_, **__: [])
