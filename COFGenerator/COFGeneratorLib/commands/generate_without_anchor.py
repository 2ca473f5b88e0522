"""``cof generate`` without an anchor: from the ECG alone, or on the population's heart; neither is the patient's."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from COFGeneratorLib.cases.plane import generate_plane_into
from COFGeneratorLib.cases.request import PlaneRequest, TemplateRequest
from COFGeneratorLib.cases.template import generate_template_into
from COFGeneratorLib.cine import Cine
from COFGeneratorLib.errors import AnatomyError, BundleError
from COFGeneratorLib.jobs.session import Session, session

if TYPE_CHECKING:
    from COFGeneratorLib.ecgflowcmr.generate import PlaneCine

ENGINES = ("chain-of-flow", "ecgflowcmr")
KNOWN = {"ef_percent": "ef", "rvef_percent": "rvef", "es_ms": "es", "hr_bpm": "hr"}
"""Options of what is known of a heart, by their names in a request."""
NEEDS_AN_ANCHOR = ("anchor", "labels", "roi", "anchor_phase", "draw", *KNOWN)


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
    given = [KNOWN.get(name, name.replace("_", "-")) for name in NEEDS_AN_ANCHOR if getattr(arguments, name, None)]
    if given:
        raise BundleError(
            f"The engine ecgflowcmr takes an ECG and no image; found --{given[0]}. Leave it out, or use the engine "
            "chain-of-flow to move that anatomy."
        )
    with session(arguments) as current:
        cine = generate_plane_into(PlaneRequest.of(arguments), current)
        _describe_plane(cine, Path(arguments.out), current)
    return 0


def _describe_plane(cine: "PlaneCine", out: Path, current: Session) -> None:
    current.say("NOTE: the anatomy in this cine is synthetic and NOT the patient's. Research use only.")
    current.facts |= {"out": str(out), "function": None if cine.plane is None else cine.plane.as_dict()}
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


def run_template(arguments: argparse.Namespace) -> int:
    """Generate on a template and write; returns the exit code.

    Raises:
        AnatomyError: If an image or labels are given as well.
    """
    beside = ("anchor", "labels", "anchor_phase")
    given = [name.replace("_", "-") for name in beside if getattr(arguments, name, None)]
    if given:
        raise AnatomyError(
            f"A template takes the place of the patient's volume; found --{given[0]} as well. Leave one of them out."
        )
    with session(arguments) as current:
        _describe_template(generate_template_into(TemplateRequest.of(arguments), current), Path(arguments.out), current)
    return 0


def _describe_template(cine: Cine, out: Path, current: Session) -> None:
    from COFGeneratorLib.function import summarise

    spread, report = summarise(cine.samples), cine.function
    assert report is not None  # a template has labels
    current.facts |= {"out": str(out), "function": report.as_dict()}
    current.say("NOTE: TEMPLATE ANATOMY, NOT the patient's. Sizes are the population's for sex, age and body size.")
    current.say(f"EF {report.ef_percent:.0f} %   end-systole at {report.es_time_ms:.0f} ms   {report.hr_bpm:.0f} bpm")
    for name, words in (("edv_ml", "EDV"), ("esv_ml", "ESV"), ("sv_ml", "SV")):
        low, high = spread[name]["interval"]
        current.say(
            f"{words} {getattr(report, name):.0f} mL ({spread['interval_percent']:.0f} %: {low:.0f} … {high:.0f})"
        )
    current.say(f"Synthetic cine of {len(cine.time_ms)} frames, in {out}")
    current.say_warnings()
