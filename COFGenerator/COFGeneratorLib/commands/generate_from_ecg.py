"""``cof generate --engine ecgflowcmr``: a cine from the ECG alone."""

import argparse
from pathlib import Path

from COFGeneratorLib.errors import AnatomyError, BundleError
from COFGeneratorLib.jobs.session import Session, session
from COFGeneratorLib.results.folder import ResultFolder
from COFGeneratorLib.results.manifest import write_manifest

ENGINES = ("chain-of-flow", "ecgflowcmr")
SHIPPED = "ecgflowcmr-small"
NEEDS_AN_ANCHOR = ("anchor", "labels", "roi", "anchor_phase")


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add the choice of engine and what only this one needs."""
    parser.add_argument(
        "--engine", choices=ENGINES, default=ENGINES[0],
        help="chain-of-flow (default: moves an anchor), or ecgflowcmr (from the ECG alone; the anatomy is NOT the "
        "patient's)",
    )  # fmt: skip
    parser.add_argument(
        "--template", metavar="SEX,AGE,CM,KG",
        help="chain-of-flow without an anchor: the population's heart for e.g. f,62,165,70; NOT the patient's",
    )  # fmt: skip
    parser.add_argument("--guidance", type=float, metavar="X", help="ecgflowcmr: classifier-free guidance (1: none)")
    parser.add_argument("--alpha", type=float, metavar="X", help="ecgflowcmr: scale of the noise on the template")


def need_anchor(arguments: argparse.Namespace) -> None:
    """Check that there is an anchor for the engine that moves one.

    Raises:
        AnatomyError: If there is none.
    """
    if not arguments.anchor:
        raise AnatomyError(
            "A short-axis volume of the patient is required: --anchor FILE; found none. Without one, --template "
            "gives a heart of the population's size and --engine ecgflowcmr draws one from the ECG alone: neither "
            "is the patient's."
        )


def run_ecgflowcmr(arguments: argparse.Namespace) -> int:
    """Generate and write; returns the exit code.

    Raises:
        BundleError: If an anchor is given, or there is no model.
    """
    given = [name.replace("_", "-") for name in NEEDS_AN_ANCHOR if getattr(arguments, name, None)]
    if given:
        raise BundleError(
            f"The engine ecgflowcmr takes an ECG and no image; found --{given[0]}. Leave it out, or use the engine "
            "chain-of-flow to move that anatomy."
        )
    with session(arguments) as current:
        with ResultFolder(arguments.out, arguments.overwrite) as folder:
            cine = _compute(arguments, current)
            from COFGeneratorLib.ecgflowcmr.write import write_plane_result

            current.warn(*write_plane_result(cine, folder, current.watch, current.progress))
            told = ("warnings", "versions", "seconds", "ecg_sha256")
            facts = {name: value for name, value in cine.provenance.items() if name not in told}
            facts |= {
                "frames": len(cine.time_ms),
                "inputs": {"ecg": {"sha256": cine.record.source_sha256, "format": cine.record.source_format}},
            }
            write_manifest(folder, "generate", facts, current.watch, current.warnings)
        for path in sorted(Path(arguments.out).iterdir()):
            current.events.artifact(path)
        _describe(cine, Path(arguments.out), current)
    return 0


def _compute(arguments: argparse.Namespace, current: Session):
    current.progress(0, 2, "reading")
    with current.watch.stage("reading"):
        from COFGeneratorLib import read_ecg

        record = read_ecg(arguments.ecg)
    with current.watch.stage("loading"):
        from COFGeneratorLib.ecgflowcmr.bundle import load_ecgflow_bundle
        from COFGeneratorLib.ecgflowcmr.generate import generate_from_ecg

        bundle = load_ecgflow_bundle(arguments.model or shipped_bundle())
    current.progress(2, 2, "reading")
    cine = generate_from_ecg(
        record,
        bundle,
        frames=arguments.frames,
        solver=arguments.solver,
        steps=arguments.steps,
        samples=arguments.samples,
        seed=arguments.seed,
        alpha=arguments.alpha,
        guidance=arguments.guidance,
        device=arguments.device,
        progress=lambda stage, done, total: current.progress(done, total, stage),
    )
    for stage, seconds in cine.provenance["seconds"].items():
        current.watch.add(stage, seconds)
    current.warn(*cine.provenance["warnings"])
    return cine


def shipped_bundle() -> Path:
    """Return the folder of the bundle that ships.

    Raises:
        BundleError: If none ships with this installation.
    """
    from COFGeneratorLib.resources import model_bundles

    shipped = model_bundles("ecgflowcmr")
    if shipped:
        return shipped[0]
    raise BundleError(
        f"The engine ecgflowcmr needs a model; none ({SHIPPED}) ships with this installation. Train one with "
        "`cof train ecgflowcmr --config ecgflowcmr-small`, export it with `cof ecgflowcmr export`, and name its bundle "
        "with --model."
    )


def _describe(cine, out: Path, current: Session) -> None:
    current.say("NOTE: the anatomy in this cine is synthetic and NOT the patient's. Research use only.")
    if cine.plane is not None:
        report = cine.plane
        current.say(
            f"LV fractional area change {report.fac_percent:.0f} %   end-systole at {report.es_time_ms:.0f} ms   "
            f"{report.hr_bpm:.0f} bpm   ({cine.provenance['cycles']} complete cycles read)"
        )
    current.say(f"Synthetic cine of {len(cine.time_ms)} frames of one plane, in {out}")
    for path in sorted(out.iterdir()):
        current.say(f"  {path.name}")
    current.say_warnings()
