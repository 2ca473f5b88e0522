"""One tiny run of all stages of ECGFlowCMR, and its bundle."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory) -> Path:
    """Return a finished run of every stage."""
    from COFTrainingLib.training.ecgflowcmr.settings import read_settings
    from COFTrainingLib.training.ecgflowcmr.stages import STAGES, run_stage

    out = tmp_path_factory.mktemp("ecgflow") / "run"
    config = read_settings("ecgflowcmr-smoke")
    for stage in STAGES:
        run_stage(stage, out, config)
    return out


@pytest.fixture(scope="session")
def smoke_bundle(smoke_run, tmp_path_factory) -> Path:
    """Return the bundle of that run."""
    from COFTrainingLib.training.ecgflowcmr.export import export_ecgflow

    return export_ecgflow(smoke_run, tmp_path_factory.mktemp("bundle") / "small", name="smoke")
