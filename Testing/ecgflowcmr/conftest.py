"""One tiny run of all stages for the whole room, and its bundle."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from COFTrainingLib.cli import main
from COFTrainingLib.phantom.electrocardiogram import synthesise_ecg
from COFTrainingLib.phantom.physiology import draw_physiology
from COFTrainingLib.training.ecgflowcmr.export import export_ecgflow
from COFTrainingLib.training.ecgflowcmr.settings import read_settings
from COFTrainingLib.training.ecgflowcmr.stages import STAGES, run_stage


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory) -> Path:
    """Return a finished run of every stage."""
    out = tmp_path_factory.mktemp("ecgflow") / "run"
    config = read_settings("ecgflowcmr-smoke")
    for stage in STAGES:
        run_stage(stage, out, config)
    return out


@pytest.fixture(scope="session")
def smoke_bundle(smoke_run, tmp_path_factory) -> Path:
    """Return the bundle of that run."""
    return export_ecgflow(smoke_run, tmp_path_factory.mktemp("bundle") / "small", name="smoke")


@pytest.fixture(scope="session")
def record():
    """Return a regular phantom ECG at 65/min."""
    physiology = draw_physiology(np.random.default_rng(5), hr_bpm=65.0, atrial_fibrillation=False)
    return synthesise_ecg(physiology, np.random.default_rng(6), premature=0.0)[0]


@pytest.fixture
def cof(capsys):
    """Return a function that runs ``cof`` in this process and gives code, out and err."""

    def run(*words) -> SimpleNamespace:
        capsys.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:
            code = stop.code
        said = capsys.readouterr()
        return SimpleNamespace(code=code, out=said.out, err=said.err)

    return run


@pytest.fixture(autouse=True)
def seeded():
    """Make every test's weights the same whatever ran before."""
    torch.manual_seed(0)
