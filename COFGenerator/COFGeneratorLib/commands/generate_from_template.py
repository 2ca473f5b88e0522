"""``cof generate --template SEX,AGE,HEIGHT,WEIGHT``: Chain of Flow without an anchor, on the population's heart."""

import argparse
from dataclasses import replace
from pathlib import Path

from COFGeneratorLib.errors import AnatomyError
from COFGeneratorLib.jobs.session import session
from COFGeneratorLib.results.folder import ResultFolder
from COFGeneratorLib.results.manifest import write_manifest

FEWEST_DRAWS = 8
"""Anatomies drawn where the user asks for fewer: a template without its width would pass for a measurement."""


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
    with session(arguments) as current, ResultFolder(arguments.out, arguments.overwrite) as folder:
        from COFGeneratorLib import analyse_ecg, generate, load_bundle, read_ecg
        from COFGeneratorLib.ecgflowcmr.template_anchor import (
            NOTICE,
            expected_sizes,
            facts_of,
            parse_person,
            template_anchor,
        )
        from COFGeneratorLib.ecgflowcmr.template_stamp import stamp_pictures
        from COFGeneratorLib.resources import default_bundle
        from COFGeneratorLib.results.writer import write_result

        person = parse_person(arguments.template)
        record = read_ecg(arguments.ecg)
        cycle = analyse_ecg(record)
        bundle = load_bundle(arguments.model or default_bundle())
        options = {"solver": arguments.solver, "steps": arguments.steps, "device": arguments.device, "cycle": cycle}
        draws = max(arguments.samples, FEWEST_DRAWS)
        reports = []
        for draw in range(draws):
            current.progress(draw, draws + 1, "anatomies")
            drawn = template_anchor(person, cycle.sokolow_mv, arguments.seed + draw)
            one = generate(drawn.anchor, record, bundle, labels=drawn.labels, frames=arguments.frames, **options)
            reports.append(one.function)
        likely = template_anchor(person, cycle.sokolow_mv)
        cine = generate(likely.anchor, record, bundle, labels=likely.labels, frames=arguments.frames, **options)
        facts = facts_of(person, likely, expected_sizes(person, cycle.sokolow_mv))
        provenance = {
            **cine.provenance, **facts, "notice": NOTICE, "labels_from": "template", "samples": draws,
            "seed": arguments.seed, "warnings": [NOTICE, *cine.provenance["warnings"]],
        }  # fmt: skip
        reports = tuple(replace(report, folded_fraction=float("nan")) for report in reports)
        cine = replace(cine, samples=reports, provenance=provenance, labels_from="template")
        cine = replace(cine, function=replace(cine.function, labels_from="template"))
        current.warn(*provenance["warnings"])
        current.warn(*write_result(cine, folder, current.watch, current.progress))
        stamp_pictures(folder)
        told = ("warnings", "versions", "seconds", "anchor_sha256", "ecg_sha256")
        content = {name: value for name, value in provenance.items() if name not in told}
        content["inputs"] = {"ecg": {"sha256": record.source_sha256, "format": record.source_format}}
        write_manifest(folder, "generate", content, current.watch, current.warnings)
        _describe(cine, Path(arguments.out), current)
    return 0


def _describe(cine, out: Path, current) -> None:
    from COFGeneratorLib.function import summarise

    spread, report = summarise(cine.samples), cine.function
    current.say("NOTE: TEMPLATE ANATOMY, NOT the patient's. Sizes are the population's for sex, age and body size.")
    current.say(f"EF {report.ef_percent:.0f} %   end-systole at {report.es_time_ms:.0f} ms   {report.hr_bpm:.0f} bpm")
    for name, words in (("edv_ml", "EDV"), ("esv_ml", "ESV"), ("sv_ml", "SV")):
        low, high = spread[name]["interval"]
        current.say(
            f"{words} {getattr(report, name):.0f} mL ({spread['interval_percent']:.0f} %: {low:.0f} … {high:.0f})"
        )
    current.say(f"Synthetic cine of {len(cine.time_ms)} frames, in {out}")
    current.say_warnings()
