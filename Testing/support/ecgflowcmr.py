"""One tiny run of all stages of ECGFlowCMR, and its bundle."""

from pathlib import Path

import pytest

from support.once import made_once


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory) -> Path:
    """Return a finished run of every stage. Many tests read it: copy what you change."""

    def train(folder: Path) -> None:
        from COFTrainingLib.training.ecgflowcmr.settings import read_settings
        from COFTrainingLib.training.ecgflowcmr.stages import STAGES, run_stage

        for stage in STAGES:
            run_stage(stage, folder / "run", read_settings("ecgflowcmr-smoke"))

    return made_once(tmp_path_factory, "ecgflowcmr", train) / "run"


@pytest.fixture(scope="session")
def smoke_bundle(smoke_run, tmp_path_factory) -> Path:
    """Return the bundle of that run."""

    def export(folder: Path) -> None:
        from COFTrainingLib.training.ecgflowcmr.export import export_ecgflow

        export_ecgflow(smoke_run, folder / "small", name="smoke")

    return made_once(tmp_path_factory, "ecgflowcmr-bundle", export) / "small"
