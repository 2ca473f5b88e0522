"""Where a model comes from: what a finished run tells, and the refusal of a bundle that could not say it."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.files import write_json

from COFTrainingLib.cohort.synthetic.synthesis import LICENCE, PREVALENCES
from COFTrainingLib.phantom.prevalence import Prevalence
from COFTrainingLib.training.ecg.ecg_training import WEIGHTS, encoder_facts
from COFTrainingLib.training.loop.run_folder import config_diff, plain
from COFTrainingLib.training.loop.settings import applied
from COFTrainingLib.training.motion.stage_two import CONFIG, FINISHED, weights_of
from COFTrainingLib.training.segmenter.segmenter import RECORDED, STARTED_FROM, SegmenterConfig, subject_seeds

SEGMENTER, SETTINGS = "segmenter.json", "configuration.json"
PLACE = frozenset({"device", "threads"})
"""Settings that say where a run computed; a configuration to repeat it leaves them to the machine."""


def read_run(run: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the frozen configuration and the results of a finished run of Stage 2.

    Raises:
        TrainingError: If it is not finished, or its weights are not those it finished with.
    """
    parts = []
    for name in (CONFIG, FINISHED):
        try:
            parts.append(json.loads((run / name).read_text(encoding="utf-8")))
        except (OSError, ValueError) as error:
            raise TrainingError(
                f"A bundle is made from a finished run of Stage 2; {run} has no {name} that reads. Finish it with: "
                "cof train flow --resume"
            ) from error
    found = weights_of(run)
    changed = sorted(name for name, digest in parts[1]["weights"].items() if found.get(name) != digest)
    if changed:
        raise TrainingError(
            f"The weights of a run must be those it finished with; in {run} those of {', '.join(changed)} are "
            "missing or were altered. Train them again."
        )
    return parts[0], parts[1]


def trained_on(run: Path) -> dict[str, Any]:
    """Return what the networks of Stage 2 were trained on and with, for the bundle's metadata.

    Raises:
        TrainingError: If any of it is not known.
    """
    config, finished = read_run(run)
    training, cohort = config["training"], config["cohort"]
    if training["flow"] and training["flow"].get("target", "motion") != "motion":
        raise TrainingError(
            f"A bundle moves anchors; the flow of {run} makes {training['flow']['target']}, as the ablation without a "
            "teacher does. Compare it with Testing/Benchmarks/ablations.py."
        )
    ecg = encoder_facts(run / "ecg")["trained_with"]
    if ecg is None:
        raise TrainingError(
            f"A bundle states how its ECG encoder was trained; the weights adopted in {run / 'ecg'} came without the "
            "config.json of their run. Train Stage 2 with --ecg pointing at the run folder of cof train ecg."
        )
    if cohort is not None and cohort["licence"] in ("", "not stated"):
        raise TrainingError(
            f"A bundle states the licence of its training cohort; that of {cohort['name']} is not stated. Import the "
            "cohort with --licence."
        )
    return {
        **(_recorded if recorded(config) else _phantoms)(cohort, training, finished),
        "used_for_training": finished["subjects"]["train"],
        "used_for_validation": finished["subjects"]["valid"],
        "seeds": {
            name: training[f"{name}_loop"]["seed"] for name in ("expected", "flow") if training[name]
        } | {"ecg": ecg["loop"]["seed"]},
        "steps": steps_of(run),
        "start_from": config.get("start_from"),
        "versions": config["versions"],
    }  # fmt: skip


def recorded(config: dict[str, Any]) -> bool:
    """Return whether a run of Stage 2 was trained on recordings, not on phantoms."""
    return config["cohort"] is not None and config["cohort"]["kind"] != "phantom"


def _phantoms(cohort: dict[str, Any] | None, training: dict[str, Any], finished: dict[str, Any]) -> dict[str, Any]:
    settings, held = (cohort or {}).get("settings", {}), training["calibration"]
    return {
        "cohort": (cohort or {}).get("name", f"phantom-{training['first_seed']}"),
        "kind": "analytic phantoms; no person's data",
        "licence": (cohort or {}).get("licence", LICENCE),
        "manifest_sha256": (cohort or {}).get("manifest_sha256"),
        "subjects_listed": settings.get("subjects", training["subjects"]),
        "first_seed": training["first_seed"],
        "last_seed": training["first_seed"] + training["subjects"] - 1,
        "prevalence": training["prevalence"],
        "gain": {"value": finished["gain"], "subjects": held["subjects"], "first_seed": held["first_seed"]},
    }


def _recorded(cohort: dict[str, Any], training: dict[str, Any], finished: dict[str, Any]) -> dict[str, Any]:
    motion, held = training["cines"], training["calibration"]
    fitted = min(held["subjects"], finished["subjects"]["valid"])
    return {
        "cohort": cohort["name"],
        "kind": f"recorded cines and ECGs ({cohort['kind']})",
        "licence": cohort["licence"],
        "manifest_sha256": cohort["manifest_sha256"],
        "people_sha256": cohort.get("people_sha256"),
        "subjects_listed": training["subjects"],
        "motion": {**motion, **finished["cines"], "networks": cohort["networks"]},
        "gain": {"value": finished["gain"], "subjects": fitted, "first_seed": None},
    }


def steps_of(run: Path) -> dict[str, int]:
    """Return the optimiser steps of every network of a run, as its own configuration states them."""
    steps = {"ecg": encoder_facts(run / "ecg")["trained_with"]["loop"]["steps"]}
    runs = {"expected": "expected", "each fold": "fold-0", "flow": "flow"}
    for name, folder in runs.items():
        if (run / folder / WEIGHTS).is_file() and (run / folder / CONFIG).is_file():
            steps[name] = json.loads((run / folder / CONFIG).read_text(encoding="utf-8"))["loop"]["steps"]
    return steps


def freeze_segmenter(run: Path, config: SegmenterConfig, resume: bool) -> None:
    """Write a segmenter training's resolved configuration into its run folder, or check that it is the same.

    Raises:
        TrainingError: If the folder holds a run, or one of another configuration.
    """
    asked = json.loads(json.dumps(asdict(config)))
    path = run / SETTINGS
    if not path.is_file():
        run.mkdir(parents=True, exist_ok=True)
        write_json(path, asked)
        return
    changed = config_diff(json.loads(path.read_text(encoding="utf-8")), asked, plain(asdict(SegmenterConfig())))
    if changed or not resume:
        what = f"of another configuration ({'; '.join(changed)})" if changed else "of a run"
        raise TrainingError(
            f"A new training needs a folder of its own; {run} is that {what}. Choose another, or --resume it unchanged."
        )


def without_place(settings: Any) -> Any:
    """Return settings less those that say where a run computed."""
    if not isinstance(settings, dict):
        return settings
    return {name: without_place(value) for name, value in settings.items() if name not in PLACE}


def segmenter_of(run: Path, given: Path | str | None) -> tuple[Path, dict[str, Any]] | None:
    """Return the folder of the segmenter's files and how it was trained; None where there is no segmenter.

    Args:
        run: Run of Stage 2; ``RUN/segmenter`` is taken where nothing is given.
        given: Run folder of ``cof train segmenter``, or a segmenter's folder with its ``provenance.json``.

    Raises:
        TrainingError: If what is given is no segmenter, or how it was trained is not known.
    """
    if given is None and not (run / "segmenter").is_dir():
        return None
    folder = Path(given) if given is not None else run / "segmenter"
    files = next((place for place in (folder, folder / "segmenter") if (place / SEGMENTER).is_file()), None)
    if files is None:
        raise TrainingError(
            f"A segmenter's folder holds {SEGMENTER}; found none in {folder}. Finish cof train segmenter."
        )
    stated = files / "provenance.json"
    if stated.is_file():
        return files, json.loads(stated.read_text(encoding="utf-8"))
    facts: dict[str, Any] = {}
    for scale in ("fine", "coarse"):
        described = files.parent / scale / CONFIG
        if not described.is_file():
            raise TrainingError(
                f"A bundle states how its segmenter was trained; {files} has neither its run's {scale}/{CONFIG} beside "
                "it nor a provenance.json. Give the run folder of cof train segmenter."
            )
        config = json.loads(described.read_text(encoding="utf-8"))
        facts[scale] = {
            "steps": config["loop"]["steps"],
            "seed": config["loop"]["seed"],
            "cache": config["model"]["cache"],
        }
    settings = files.parent / SETTINGS
    if settings.is_file():
        facts["configuration"] = without_place(json.loads(settings.read_text(encoding="utf-8")))
        facts["subject_seeds"] = _segmenters_subjects(files.parent, facts["configuration"])
    terms = files.parent / RECORDED
    if terms.is_file():  # its caches were of recordings: of drawn patients it met those of the weights it began with
        told = json.loads(terms.read_text(encoding="utf-8"))
        return files, {**facts, **told, "subject_seeds": _before(files.parent) or []}
    return files, {"trained_on": "analytic phantoms of random contrast; no person's data", **facts}


def _before(run: Path) -> list[dict[str, Any]] | None:
    """Return whom the weights that a training began with had met, as JSON; None where it began with none."""
    before = run / STARTED_FROM
    return json.loads(before.read_text(encoding="utf-8"))["subject_seeds"] if before.is_file() else None


def _segmenters_subjects(run: Path, configuration: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Return whom a segmenter has met, as JSON; None where it began with weights that do not say whom they had met."""
    blocks = [block.to_json() for block in subject_seeds(applied(SegmenterConfig(), configuration, "segmenter"))]
    before = run / STARTED_FROM
    if before.is_file():
        stated = json.loads(before.read_text(encoding="utf-8"))["subject_seeds"]
        return None if stated is None else blocks + stated
    return blocks


def teacher_of(run: Path, given: Path | str | None) -> tuple[Path, dict[str, Any]] | None:
    """Return the folder of the registration teacher's files and how it was trained; None where there is none.

    ``RUN/teacher`` is taken where nothing is given.

    Raises:
        TrainingError: If what is given is no finished training of a teacher.
    """
    folder = Path(given) if given is not None else run / "teacher"
    if given is None and not folder.is_dir():
        return None
    files = folder / "teacher"
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        loop, pairs, objective = config["loop"], config["model"]["pairs"], config["model"]["objective"]
        if not (files / WEIGHTS).is_file():
            raise FileNotFoundError(f"no teacher/{WEIGHTS}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"A bundle's teacher is a finished run of cof train teacher; {folder} does not read as one ({error}). "
            "Finish it with --resume."
        ) from error
    settings = without_place({**config["model"], "loop": loop})
    facts = {"steps": loop["steps"], "seed": loop["seed"], "pairs": pairs, "objective": objective}
    return files, {**facts, "configuration": settings}


def retraining_commands(
    config: dict[str, Any], metadata: dict[str, Any], segmenter: bool, teacher: bool = False
) -> list[str]:
    """Return the commands that train a model again from an empty folder, given its ``docs/configuration.json``.

    ``segmenter``, ``teacher``: whether the configuration says how to train these, too. A flow that began with the
    weights of another bundle names it by their hash.
    """
    facts, name = metadata["training"], metadata["name"]
    if recorded(config):
        return _recorded_commands(config, name, segmenter)
    prevalence = Prevalence(**facts["prevalence"])
    word = next((word for word, known in PREVALENCES.items() if known == prevalence), "natural")
    commands = []
    cohort = ""
    if config["cohort"] is not None:
        commands.append(
            f"cof cohort synthesize --subjects {facts['subjects_listed']} --seed {facts['first_seed']} "
            f"--prevalence {word} --manifest-only --out cohort"
        )
        cohort = "--cohort cohort "
    if segmenter:
        commands.append("cof train segmenter --out run/segmenter --config configuration.json")
    if teacher:
        commands.append("cof train teacher --out run/teacher --config configuration.json")
    begun = f" --start-from BUNDLE-{facts['start_from']['weights_sha256'][:12]}" if facts.get("start_from") else ""
    commands.append("cof train ecg --out run/ecg --config configuration.json")
    commands.append(f"cof train flow {cohort}--out run --config configuration.json{begun}")
    commands.append(f"cof bundle export --run run --name {name} --out {name}")
    return commands


def _recorded_commands(config: dict[str, Any], name: str, segmenter: bool) -> list[str]:
    kind = config["cohort"]["kind"]
    source = {"table": "--table cases.csv", "ukbiobank": "--ukbiobank DOWNLOADS"}.get(kind, f"--{kind} DATA")
    commands = [f'cof cohort import {source} --licence "{config["cohort"]["licence"]}" --out cohort']
    if config["training"]["cines"]["source"] == "teacher":
        commands.append("cof train teacher --out run/teacher")
    if segmenter:
        commands.append("cof train segmenter --out run/segmenter --config configuration.json")
    commands.append("cof train ecg --out run/ecg --config configuration.json")
    commands.append("cof train flow --cohort cohort --out run --config configuration.json")
    commands.append(f"cof bundle export --run run --name {name} --out {name}")
    return commands
