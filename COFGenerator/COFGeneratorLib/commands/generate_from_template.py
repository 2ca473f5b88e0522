"""``cof generate --template SEX,AGE,HEIGHT,WEIGHT``: Chain of Flow without an anchor, on the population's heart."""

import argparse
from pathlib import Path

from COFGeneratorLib.cases.request import TemplateRequest
from COFGeneratorLib.cases.template import generate_template_into
from COFGeneratorLib.cine import Cine
from COFGeneratorLib.errors import AnatomyError
from COFGeneratorLib.jobs.session import Session, session


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
        _describe(generate_template_into(TemplateRequest.of(arguments), current), Path(arguments.out), current)
    return 0


def _describe(cine: Cine, out: Path, current: Session) -> None:
    from COFGeneratorLib.function import summarise

    spread, report = summarise(cine.samples), cine.function
    assert report is not None  # a template has labels
    current.say("NOTE: TEMPLATE ANATOMY, NOT the patient's. Sizes are the population's for sex, age and body size.")
    current.say(f"EF {report.ef_percent:.0f} %   end-systole at {report.es_time_ms:.0f} ms   {report.hr_bpm:.0f} bpm")
    for name, words in (("edv_ml", "EDV"), ("esv_ml", "ESV"), ("sv_ml", "SV")):
        low, high = spread[name]["interval"]
        current.say(
            f"{words} {getattr(report, name):.0f} mL ({spread['interval_percent']:.0f} %: {low:.0f} … {high:.0f})"
        )
    current.say(f"Synthetic cine of {len(cine.time_ms)} frames, in {out}")
    current.say_warnings()
