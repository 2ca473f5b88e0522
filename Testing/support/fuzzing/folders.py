"""Families of folders and tables: bundles, jobs, results, cohorts, cases, settings of trainings."""

import json
import random
from functools import partial
from pathlib import Path

import numpy as np
from COFGeneratorLib.cases.table import read_table
from COFGeneratorLib.errors import BundleError, ChainOfFlowError, CohortError, JobError, TrainingError
from COFGeneratorLib.export import read_heart
from COFGeneratorLib.files import sha256_of
from COFGeneratorLib.jobs import JobRunner, find_jobs, process
from COFGeneratorLib.results.folder import earlier_files
from COFTrainingLib.cohort.importers.table import import_table
from COFTrainingLib.cohort.manifest import read_cohort

from support.fuzzing import binaries, images, texts
from support.fuzzing.family import Damage, Family

METADATA = "configs/metadata.json"
TRUTHFUL = 0.85
"""Share of the damaged bundles whose checksums fit the damage: the others are refused before anything is loaded."""


def as_json(content: bytes, dice: random.Random) -> bytes:
    """Damage a file that holds one JSON value."""
    return texts.json_text(texts.damaged_json(json.loads(content), dice), dice).encode("utf-8", "surrogatepass")


def as_json_lines(content: bytes, dice: random.Random) -> bytes:
    """Damage one JSON value a line, or the lines."""
    lines = content.decode().splitlines()
    if dice.random() < 0.2:
        return texts.in_text(texts.damaged_lines)(content, dice)
    at = dice.randrange(len(lines))
    lines[at] = texts.json_text(texts.damaged_json(json.loads(lines[at]), dice), dice)
    return "\n".join(lines).encode("utf-8", "surrogatepass")


CELLS = texts.in_text(partial(texts.damaged_lines, divided_by=r"[,;\n]"))


# ---------------------------------------------------------------- bundles


class Bundle(Family):
    """Bundles, whose checksums mostly are made to fit: else all that is tested is that they are looked at."""

    def damaged(self, source: Path, folder: Path, number: int) -> Path:
        """Write the damaged bundle of a number."""
        target = super().damaged(source, folder, number)
        if random.Random(f"truth {number}").random() < TRUTHFUL:
            try:
                metadata = json.loads((target / METADATA).read_text("utf-8"))
                checksums = metadata["checksums"]
                metadata["checksums"] = {name: sha256_of(target / name) for name in checksums}
                (target / METADATA).write_text(json.dumps(metadata), "utf-8")
            except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
                pass  # damaged where the checksums are
        return target


def _bundle(folder: Path) -> list[Path]:
    from support.command_line import write_small_bundle

    return [write_small_bundle(folder / "bundle")]


def _load(path: Path, number: int) -> object:
    from COFGeneratorLib.generator.bundle import load_bundle

    return load_bundle(path)


# ---------------------------------------------------------------- jobs


def _job(folder: Path) -> list[Path]:
    place = folder / "job"
    place.mkdir()
    (place / "result").mkdir()
    facts = {"kind": "train", "title": "x", "argv": ["python", "-c", "1"], "expect": ["run.json"], "created": 1.7e9,
             "token": "0" * 32}  # fmt: skip
    status = {"state": "running", "reason": "", "returncode": None, "pid": 1, "process_started": "1", "updated": 1.7e9}
    events = [
        {"event": "progress", "stage": "a", "done": 1, "total": 3, "eta_s": 2.0, "time": 1.7e9},
        {"event": "metric", "name": "loss", "value": 0.5, "step": 3, "time": 1.7e9},
        {"event": "warning", "message": "x", "time": 1.7e9},
        {"event": "artifact", "path": "result/a", "time": 1.7e9},
        {"event": "error", "kind": "internal", "message": "x", "hint": "y", "time": 1.7e9},
    ]
    (place / "job.json").write_text(json.dumps(facts))
    (place / "status.json").write_text(json.dumps(status))
    (place / "events.jsonl").write_text("\n".join(map(json.dumps, events)) + "\n")
    (place / "log.txt").write_text("step 1\rstep 2\nend\n" * 20)
    return [place]


def _follow(path: Path, number: int) -> object:
    """Attach to a job and look; a signal sent to anybody is a foreign error."""
    sent = process._signal
    process._signal = _refuse_to_send
    try:
        find_jobs(path.parent)
        runner = JobRunner.attach(path)
        runner.poll()
        if number % 3 == 0:
            runner.kill()
        return runner
    finally:
        process._signal = sent


def _refuse_to_send(entry: object, signal_number: int) -> None:
    raise AssertionError("a job folder made by anybody had a process signalled")


# ---------------------------------------------------------------- results, cohorts, tables, settings


def _result(folder: Path) -> list[Path]:
    import SimpleITK as sitk

    place = folder / "result"
    place.mkdir()
    spacing = np.linalg.norm(images.TO_RAS[:3, :3], axis=0).tolist()
    for name, frames in (("cine", images._cine()[:3]), ("labels", np.stack([images.heart()] * 3))):
        joined = sitk.JoinSeries([sitk.GetImageFromArray(frame) for frame in frames])
        joined.SetSpacing([*spacing, 250.0])
        sitk.WriteImage(joined, str(place / f"{name}.seq.nrrd"))
    function = {"ef_percent": 55.0, "time_ms": [0, 250, 500], "lv_volume_ml": [90.0, 60.0, 70.0], "hr_bpm": 80.0}
    run = {"product": "ChainOfFlow", "command": "generate", "seed": 0, "model": "tiny", "files": ["cine.seq.nrrd"]}
    (place / "function.json").write_text(json.dumps(function))
    (place / "run.json").write_text(json.dumps(run))
    return [place]


def _read_result(path: Path, number: int) -> object:
    from COFGeneratorLib.export import write_export

    earlier_files(path)
    heart = read_heart(path)
    return write_export(heart, path, "csv") if number % 2 else heart


def _table(folder: Path) -> list[Path]:
    head = (
        "case,anchor,ecg,labels,label_map,series,spacing,anchor_frame,anchor_phase,roi,beat,frames,samples,seed,"
        "ef_percent,hr_bpm"
    )
    row = '{},a.nrrd,e.csv,l.nrrd,"lv=1,myo=2,rv=3",7,"1.4,1.4,8",0,0.3,"-60,40,-60,40,-90,60",3,50,1,0,55,70'
    path = folder / "cases.csv"
    path.write_text("\n".join([head, *(row.format(name) for name in ("a", "b", "Ä b", "con", "a"))]) + "\n", "utf-8")
    return [path]


def _cohort(folder: Path) -> list[Path]:
    head = {"format": "chainofflow-cohort", "format_version": 1, "name": "x", "kind": "phantom", "licence": "CC0",
            "version": "1", "seed": 4, "root": "", "needs": [["anchor", "cine"], "ecg"],
            "splits": {"train": 0.8, "valid": 0.1, "salt": "x"}, "settings": {"a": 1}, "ecg": "recorded"}  # fmt: skip
    from COFTrainingLib.cohort.splits import SplitRule

    head["splits"] = json.loads(json.dumps(SplitRule().__dict__))
    rows = [
        {"id": f"p{n}", "person": f"p{n}", "split": split, "files": {"anchor": f"{n}/a.nrrd", "ecg": f"{n}/e.csv"},
         "facts": {"seed": n, "label_map": {"lv": 1}}, "sha256": {"anchor": "0" * 64}}
        for n, split in enumerate(("train", "valid", "test"))
    ]  # fmt: skip
    path = folder / "cohort.jsonl"
    path.write_text("\n".join(map(json.dumps, [head, *rows])) + "\n")
    return [path]


def _use_cohort(path: Path, number: int) -> object:
    cohort = read_cohort(path)
    paths = [cohort.path(one, role) for one in cohort.used() for role in one.files]
    return cohort.fingerprint(), paths, cohort.used("train")


def _cohort_table(folder: Path) -> list[Path]:
    path = folder / "table.csv"
    path.write_text(
        "id,person,anchor,ecg,labels,label_map,anchor_frame,labels_frame,exclude,age\n"
        'a,p,a.nrrd,a.csv,l.nrrd,"lv=3,myo=2,rv=1",0,0,,61\nb,q,b.nrrd,b.csv,l.nrrd,,1,1,torn,44\n'
    )
    return [path]


def _settings(folder: Path) -> list[Path]:
    made = []
    for kind, text in (
        ("flow", 'base = "smoke"\n[flow]\nsubjects = 12\nfold_steps = 6\n[flow.grid]\nshape = [8, 24, 24]\nphases = 6\n'
         '[flow.expected_loop]\nsteps = 12\nlearning_rate = 3e-3\nprecision = "fp32"\n'),
        ("ecg", '[ecg]\nbatch = 16\nencoder = {widths = [8, 16], embedding = 32}\n[ecg.loop]\nsteps = 12\n'),
    ):  # fmt: skip
        made.append(folder / f"{kind}.toml")
        made[-1].write_text(text)
    return made


def _read_settings(path: Path, number: int) -> object:
    from COFTrainingLib.training.configurations import read_configuration

    return read_configuration(path.stem, path)


_BUNDLE: dict[str, Damage] = {"metadata.json": as_json, "*.safetensors": binaries.damaged_safetensors}
_JOB: dict[str, Damage] = {"job.json": as_json, "status.json": as_json, "events.jsonl": as_json_lines,
                           "log.txt": texts.in_text(texts.damaged_lines)}  # fmt: skip
_RESULT: dict[str, Damage] = {"*.json": as_json, "*.nrrd": images._NRRD}
_TOML = texts.in_text(partial(texts.damaged_lines, divided_by=r"[\s=,\[\]{}]+"))

FAMILIES = (
    Bundle("bundle", _bundle, _BUNDLE, _load, BundleError),
    Family("job folder", _job, _JOB, _follow, JobError),
    Family("result", _result, _RESULT, _read_result, ChainOfFlowError, one_file=False),
    Family("table of cases", _table, CELLS, lambda path, _: read_table(path), ChainOfFlowError),
    Family("cohort", _cohort, as_json_lines, _use_cohort, CohortError),
    Family("cohort table", _cohort_table, CELLS, lambda path, _: import_table(path, path.parent / "out"), CohortError),
    Family("settings", _settings, _TOML, _read_settings, TrainingError),
)  # fmt: skip
