"""Writes a report: ``report.html``, ``metrics.json``, ``tables/*.csv``; each complete or not at all."""

import hashlib
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from COFGeneratorLib import __version__
from COFGeneratorLib.files import write_json
from COFGeneratorLib.generator.bundle import read_metadata

from COFTrainingLib.cohort.manifest import Cohort, read_cohort
from COFTrainingLib.evaluation.plan import Plan
from COFTrainingLib.evaluation.protocols.registry import PROTOCOLS
from COFTrainingLib.evaluation.report.page import Page, cell_text, write_page
from COFTrainingLib.evaluation.report.papers import eligibility, published
from COFTrainingLib.evaluation.report.section import Section, Table
from COFTrainingLib.evaluation.run import CINE
from COFTrainingLib.evaluation.store import Row, Store, jsonable
from COFTrainingLib.training.comparators.comparator import comparator_facts

PACKAGES = ("torch", "monai", "numpy", "scipy", "SimpleITK", "neurokit2", "matplotlib")
NOTICE = "Synthetic cines, for research use only; nothing here is about the care of a patient."


def write_report(out: Path, plan: Plan, store: Store, sections: Sequence[Section], facts: dict[str, Any]) -> Path:
    """Write everything; returns the page's path. ``facts`` are more for the provenance: the command, seconds."""
    cohort = read_cohort(plan.cohort)
    provenance = _provenance(plan, cohort, facts)
    failures = store.failures()
    closing = _closing(plan, failures, sections, provenance)
    closing.tables.append(published("published_cohort"))
    title = f"Evaluation of {plan.main or 'predictions'} on {cohort.header.name}"
    lead = (
        f"{len(plan.subjects)} subjects of the cohort {cohort.header.name} ({cohort.header.kind}), "
        f"{len(store.methods(CINE))} methods, {len(failures)} results that could not be made. Tables on white are "
        "measured here; tables on yellow are the papers’ own numbers, on other data and with another assessor."
    )
    if cohort.header.ecg == "synthesised":
        lead += " The ECGs of this cohort are nobody’s own: each was synthesised to fit its heart’s measured function."
    write_json(out / "metrics.json", jsonable(_metrics(plan, sections, provenance, failures)))
    return write_page(out, Page(title, NOTICE, lead, [*sections, closing], plan.main))


def _metrics(
    plan: Plan, sections: Sequence[Section], provenance: dict[str, Any], failures: list[Row]
) -> dict[str, Any]:
    """Return ``metrics.json``: provenance, numbers by protocol, and under ``arms`` what a model card shows."""
    function = next((s.numbers for s in sections if s.name == "function"), {})
    arms = {
        name: {"ef_mae_points": row.get("ef_error_points"), "ef_bias_points": row.get("ef_bias_points"),
               "es_error_frames": row.get("es_error_frames"), "curve_rmse_ml": row.get("curve_rmse_ml")}
        for name, row in function.items()
    }  # fmt: skip
    return {
        "notice": NOTICE,
        "subjects": len(plan.subjects),
        "seed": provenance["cohort"].get("seed"),
        "model": provenance["models"][0]["id"] if provenance["models"] else None,
        "weights_sha256": provenance["models"][0]["weights_sha256"] if provenance["models"] else None,
        "arms": arms,
        "provenance": provenance,
        "protocols": {section.name: section.numbers for section in sections},
        "not_run": {section.name: section.not_run for section in sections if section.not_run},
        "failures": failures,
    }


def _provenance(plan: Plan, cohort: Cohort, facts: dict[str, Any]) -> dict[str, Any]:
    def of(package: str) -> str:
        try:
            return version(package)
        except PackageNotFoundError:
            return "not installed"

    models = []
    for name, folder in plan.models:
        metadata = read_metadata(folder)
        weights = "".join(f"{file}:{digest}\n" for file, digest in sorted(metadata["checksums"].items()))
        models.append({"name": name, "id": f"{metadata['name']} {metadata['version']}",
                       "weights_sha256": hashlib.sha256(weights.encode()).hexdigest(),
                       "trained_on": metadata.get("training", {}).get("cohort")})  # fmt: skip
    header = cohort.header
    return {
        "chainofflow": __version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "versions": {package: of(package) for package in PACKAGES},
        "cohort": {"name": header.name, "kind": header.kind, "licence": header.licence, "seed": header.seed,
                   "ecg": header.ecg, "manifest_sha256": cohort.fingerprint(), "subjects": list(plan.subjects)},
        "models": models,
        "predictions": [name for name, _ in plan.predictions],
        **({"comparators": [name for name, _ in plan.comparators]} if plan.comparators else {}),
        "seed": plan.seed,
        **facts,
    }  # fmt: skip


def _closing(plan: Plan, failures: list[Row], sections: Sequence[Section], provenance: dict[str, Any]) -> Section:
    """Return what was not run, what failed, who could enter, and how all this was made."""
    section = Section("provenance", "What was not run, what failed, and how this was made")
    missed = [(s.title, s.not_run) for s in sections if s.not_run]
    asked = {s.name for s in sections}
    missed += [(known.title, f"not asked for: --protocol {name}") for name, known in PROTOCOLS.items()
               if name not in asked]  # fmt: skip
    if missed:
        section.tables.append(Table("not_run", "Not run", ("Protocol", "Why"), missed))
    if failures:
        rows = [(f["subject"], f["method"], f["kind"], f["error"]) for f in failures]
        section.tables.append(Table("failures", "Results that could not be made", ("Subject", "Method", "Kind", "Why"),
                                    rows, "Each costs its own row; nothing else is lost by it."))  # fmt: skip
    budgets = [(name, comparator_facts(run)) for name, run in plan.comparators]
    if budgets:
        section.tables.append(_budgets(budgets))
    families = tuple(facts["family"] for _, facts in budgets)
    section.tables.append(eligibility(tuple(name for name, _ in plan.predictions), families))
    flat: list[tuple[str, str]] = []
    for name, value in provenance.items():
        if name == "cohort":
            value = {**value, "subjects": len(value["subjects"])}
        if isinstance(value, dict):
            flat += [(f"{name}: {key}", cell_text(item)) for key, item in value.items()]
        elif name == "models" and value:
            flat.append((name, "; ".join(", ".join(f"{key} {item}" for key, item in one.items()) for one in value)))
        else:
            flat.append((name, cell_text(value)))
    section.tables.append(Table("provenance", "Provenance", ("What", "Value"), flat))
    return section


def _budgets(comparators: Sequence[tuple[str, dict[str, Any]]]) -> Table:
    """Return what the trained comparators were given."""
    rows = [
        (name, facts["family"], facts["trained_on"], facts["subjects"], facts["clips"], facts["batch"],
         " + ".join(str(steps) for steps in facts["steps"].values()), facts["parameters"])
        for name, facts in comparators
    ]  # fmt: skip
    columns = ("Comparator", "Family", "Cohort", "Subjects", "Slices", "Batch", "Steps", "Parameters")
    note = (
        "One draw a subject, labelled by what labels all cines without labels. Small networks of the family, not the "
        "papers' models."
    )
    return Table("comparators", "Trained comparators: what they were given", columns, rows, note)
