"""Generates a cine of one plane from the ECG alone (ECGFlowCMR), and writes the result folder."""

from pathlib import Path
from typing import TYPE_CHECKING

from COFGeneratorLib.cases.request import PlaneRequest
from COFGeneratorLib.errors import BundleError
from COFGeneratorLib.jobs.session import Session
from COFGeneratorLib.results.folder import ResultFolder, write_manifest

if TYPE_CHECKING:
    from COFGeneratorLib.ecgflowcmr.generate import PlaneCine

TOLD_ELSEWHERE = ("warnings", "versions", "seconds", "ecg_sha256")


def generate_plane_into(request: PlaneRequest, current: Session) -> "PlaneCine":
    """Generate into ``request.out`` and return the cine.

    Raises:
        BundleError: If there is no model.
    """
    with ResultFolder(request.out, request.overwrite) as folder:
        cine = _compute(request, current)
        from COFGeneratorLib.results.plane import write_plane_result

        current.warn(*write_plane_result(cine, folder, current.watch, current.progress, request.write))
        record, _ = cine.ecg
        facts = {name: value for name, value in cine.provenance.items() if name not in TOLD_ELSEWHERE}
        facts |= {
            "frames": len(cine.time_ms),
            "inputs": {"ecg": {"sha256": record.source_sha256, "format": record.source_format}},
        }
        write_manifest(folder, "generate", facts, current.watch, current.warnings)
    current.tell_files(request.out)
    return cine


def _compute(request: PlaneRequest, current: Session) -> "PlaneCine":
    current.progress(0, 2, "reading")
    with current.watch.stage("reading"):
        from COFGeneratorLib import read_ecg

        record = read_ecg(request.ecg, **request.ecg_told)
    with current.watch.stage("loading"):
        from COFGeneratorLib.ecgflowcmr.bundle import load_ecgflow_bundle
        from COFGeneratorLib.ecgflowcmr.generate import generate_from_ecg

        bundle = load_ecgflow_bundle(request.model or shipped_bundle())
    current.progress(2, 2, "reading")
    cine = generate_from_ecg(
        record,
        bundle,
        **request.drawing,
        alpha=request.alpha,
        guidance=request.guidance,
        progress=lambda stage, done, total: current.progress(done, total, stage),
    )
    current.take_over(cine.provenance)
    return cine


def shipped_bundle() -> Path:
    """Return the folder of a bundle of this engine among the shipped models.

    Raises:
        BundleError: If there is none.
    """
    from COFGeneratorLib.resources import model_bundles

    shipped = model_bundles("ecgflowcmr")
    if shipped:
        return shipped[0]
    raise BundleError(
        "The engine ecgflowcmr needs a model, named with --model; found none, and none ships. Train one: "
        "`cof train ecgflowcmr --config ecgflowcmr-small --out RUN` (on phantoms; about three hours of one core), then "
        "`cof ecgflowcmr export --run RUN --out BUNDLE`, and add --model BUNDLE."
    )
