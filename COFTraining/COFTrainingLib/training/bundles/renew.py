"""A bundle of a bundle: a new segmenter, a new teacher, a new interval of EF or new figures; motion stays as it was."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from COFGeneratorLib import __version__
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.generator.bundle import load_bundle, save_bundle

from COFTrainingLib.training.bundles.export import read_figures, write_docs
from COFTrainingLib.training.bundles.provenance import retraining_commands, segmenter_of, teacher_of
from COFTrainingLib.training.motion.ef_interval import fit_ef_interval
from COFTrainingLib.training.motion.stage_two_settings import Calibration
from COFTrainingLib.training.publishing import check_figures, check_place, staged

FIGURES = ("metrics", "real_hearts")


def renew_bundle(
    source: Path | str,
    out: Path | str,
    *,
    segmenter: Path | str | None = None,
    teacher: Path | str | None = None,
    interval_records: int = 0,
    metrics: Path | str | None = None,
    real_hearts: Path | str | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Make a bundle of another one.

    Args:
        source: The bundle to begin with.
        out: Folder of the new one; may be the same with ``overwrite``.
        segmenter, teacher: Run folders whose network takes the place of the bundle's.
        interval_records: ECGs of phantoms on which the interval of EF is fitted again; 0 leaves it.
        metrics, real_hearts: Files of figures for the card. Those that the bundle has are kept where nothing changes.
        overwrite: Replace a bundle that is there.
        progress: Called with (done, total) while the interval is fitted.

    Returns:
        The new bundle's folder.

    Raises:
        TrainingError: If a run is not finished, the figures are of other weights, or ``out`` is taken.
        BundleError: If the bundle does not load.
    """
    source, out = Path(source), Path(out)
    check_place(out, overwrite)
    bundle, docs = load_bundle(source), source / "docs"
    facts = {name: value for name, value in bundle.metadata.items() if name not in ("format", "cof", "checksums")}
    facts["version"] = __version__
    settings = _read(docs / "configuration.json") or {}
    files = {name: source / "models" / name for name in ("segmenter", "teacher")}
    for name, run, find in (("segmenter", segmenter, segmenter_of), ("teacher", teacher, teacher_of)):
        part = None if run is None else find(Path(run), run)
        if part is not None:
            files[name], facts[name] = part
            settings |= {name: facts[name].pop("configuration")} if "configuration" in facts[name] else {}
    model = bundle.model
    if interval_records:
        if model.ef_z90 is None or model.statement is not None:
            raise TrainingError(
                "An interval of EF belongs to a model that goes by the EF its encoder states; this one does not. Leave "
                "--interval out."
            )
        fitted = fit_ef_interval(model, Calibration().first_seed, interval_records, progress)
        model = replace(model, ef_shift=fitted.shift, ef_z90=fitted.z90)
        settings.setdefault("flow", {}).setdefault("calibration", {})["records"] = interval_records
    facts["training"] = {**facts["training"], "commands": _commands(facts, settings)}
    with staged(out) as folder:
        parts = [files[name] if files[name].is_dir() else None for name in ("segmenter", "teacher")]
        metadata = save_bundle(folder, model, facts, *parts)
        unchanged = metadata["checksums"] == bundle.metadata["checksums"] and not interval_records
        figures = {name: _read(docs / f"{name}.json") if unchanged else None for name in FIGURES}
        given = {"metrics": read_figures(metrics), "real_hearts": read_figures(real_hearts)}
        figures |= {name: values for name, values in given.items() if values}
        write_docs(folder, metadata, settings, figures)
        check_figures(load_bundle(folder).weights_sha256, figures["metrics"], metrics)
    return out


def _commands(facts: dict[str, Any], settings: dict[str, Any]) -> list[str]:
    """Return the commands that train the bundle again; one that does not say them is of phantoms drawn by its seeds."""
    known = facts["training"].get("commands")
    if known and "segmenter" not in facts and "teacher" not in facts:
        return known
    if "prevalence" not in facts["training"]:
        return known or []
    cohort = {"kind": "phantom"} if facts["training"]["manifest_sha256"] else None
    return retraining_commands({"cohort": cohort}, facts, "segmenter" in settings, "teacher" in facts)


def _read(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
