"""Generates a cine without an anchor, on the heart that the population has at that sex, age and size."""

from dataclasses import replace

from COFGeneratorLib.cases.request import TemplateRequest
from COFGeneratorLib.cine import Cine
from COFGeneratorLib.jobs.session import Session
from COFGeneratorLib.results.folder import ResultFolder, write_manifest
from COFGeneratorLib.results.writer import write_result

FEWEST_DRAWS = 8
"""Anatomies drawn where the user asks for fewer: a template without its width would pass for a measurement."""
TOLD_ELSEWHERE = ("warnings", "versions", "seconds", "anchor_sha256", "ecg_sha256")


def generate_template_into(request: TemplateRequest, current: Session) -> Cine:
    """Generate into ``request.out`` and return the cine, marked as not the patient's."""
    from COFGeneratorLib.ecgflowcmr.template_stamp import stamp_pictures

    with ResultFolder(request.out, request.overwrite) as folder:
        cine = _compute(request, current)
        current.warn(*cine.provenance["warnings"])
        current.warn(*write_result(cine, folder, current.watch, current.progress, request.write))
        stamp_pictures(folder)
        record, _ = cine.ecg
        facts = {name: value for name, value in cine.provenance.items() if name not in TOLD_ELSEWHERE}
        facts["inputs"] = {"ecg": {"sha256": record.source_sha256, "format": record.source_format}}
        write_manifest(folder, "generate", facts, current.watch, current.warnings)
    return cine


def _compute(request: TemplateRequest, current: Session) -> Cine:
    from COFGeneratorLib import analyse_ecg, generate, load_bundle, read_ecg
    from COFGeneratorLib.ecgflowcmr.template_anchor import (
        NOTICE,
        expected_sizes,
        facts_of,
        parse_person,
        template_anchor,
    )
    from COFGeneratorLib.resources import default_bundle

    person = parse_person(request.template)
    record = read_ecg(request.ecg, **request.ecg_told)
    cycle = analyse_ecg(record)
    bundle = load_bundle(request.model or default_bundle(), request.encoder)
    options = {
        "frames": request.frames, "solver": request.solver, "steps": request.steps, "device": request.device,
        "cycle": cycle, **request.telling,
    }  # fmt: skip
    draws = max(request.samples, FEWEST_DRAWS)
    reports = []
    for draw in range(draws):
        current.progress(draw, draws + 1, "anatomies")
        drawn = template_anchor(person, cycle.sokolow_mv, request.seed + draw)
        report = generate(drawn.anchor, record, bundle, labels=drawn.labels, **options).function
        reports.append(replace(report, folded_fraction=float("nan")))
    likely = template_anchor(person, cycle.sokolow_mv)
    cine = generate(likely.anchor, record, bundle, labels=likely.labels, **options)
    provenance = {
        **cine.provenance, **facts_of(person, likely, expected_sizes(person, cycle.sokolow_mv)), "notice": NOTICE,
        "labels_from": "template", "samples": draws, "seed": request.seed,
        "warnings": [NOTICE, *cine.provenance["warnings"]],
    }  # fmt: skip
    function = replace(cine.function, labels_from="template")
    return replace(cine, function=function, samples=tuple(reports), provenance=provenance, labels_from="template")
