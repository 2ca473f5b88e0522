"""``cof generate --engine ecgflowcmr``: a cine from the ECG alone."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from COFGeneratorLib.cases.plane import generate_plane_into
from COFGeneratorLib.cases.request import PlaneRequest
from COFGeneratorLib.errors import AnatomyError, BundleError
from COFGeneratorLib.jobs.session import Session, session

if TYPE_CHECKING:
    from COFGeneratorLib.ecgflowcmr.generate import PlaneCine

ENGINES = ("chain-of-flow", "ecgflowcmr")
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
        cine = generate_plane_into(PlaneRequest.of(arguments), current)
        _describe(cine, Path(arguments.out), current)
    return 0


def _describe(cine: "PlaneCine", out: Path, current: Session) -> None:
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
