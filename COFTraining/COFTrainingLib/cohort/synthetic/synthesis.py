"""Making a phantom cohort: over processes, resumable at any moment, the same files whatever the number of workers."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from COFGeneratorLib.errors import CohortError
from COFGeneratorLib.files import write_json
from COFGeneratorLib.jobs.workers import spread

from COFTrainingLib.cohort.manifest import Cohort, Subject, make_cohort
from COFTrainingLib.cohort.splits import SplitRule
from COFTrainingLib.cohort.synthetic.phantom_files import PhantomOptions, planned_subject, subject_id, write_subject
from COFTrainingLib.phantom.prevalence import ENRICHED, NATURAL

SETTINGS = "synthesis.json"
PREVALENCES = {"natural": NATURAL, "enriched": ENRICHED}
SPLITS = SplitRule(0.90, 0.05, 0.05)
"""Held-out phantoms cost nothing (any other seeds), so most subjects of a cohort may train."""
LICENCE = "CC0-1.0 (synthetic, shows no person)"
CHUNK = 16


def synthesize(
    out: Path | str,
    subjects: int,
    seed: int,
    options: PhantomOptions | None = None,
    *,
    files: bool = True,
    workers: int = 1,
    splits: SplitRule = SPLITS,
    progress: Callable[[int, int], None] | None = None,
) -> Cohort:
    """Make the phantoms of the seeds seed … seed + subjects − 1, and the manifest last.

    Args:
        out: Folder; new, empty, or of a synthesis with the same settings, which is finished or made larger.
        subjects: How many.
        seed: Seed of the first one. Cohorts whose ranges of seeds are disjoint share nobody.
        options: What is made of each.
        files: Write images, ECGs and truth; without them the manifest alone, from which training draws the same hearts.
        workers: Processes.
        splits: Rule of the splits.
        progress: Called with (subjects done, subjects).

    Raises:
        CohortError: If the folder holds something else.
    """
    options = options or PhantomOptions(NATURAL)
    if subjects < 1 or seed < 0:
        raise CohortError(f"A cohort needs at least 1 subject and a seed of at least 0; found {subjects} and {seed}.")
    out = Path(out)
    how = json.loads(json.dumps({"files": files, **asdict(options)}))
    _claim(out, {"seed": seed, "splits": asdict(splits), **how})
    jobs = [(out, first, options, files, splits) for first in range(seed, seed + subjects)]
    chunk = 1 if files else CHUNK
    parts = [jobs[start : start + chunk] for start in range(0, len(jobs), chunk)]
    lines: dict[str, Subject] = {}
    for part in spread(_make, parts, workers=workers):
        lines.update({line.id: line for line in part})
        if progress is not None:
            progress(len(lines), subjects)
    return make_cohort(
        out,
        sorted(lines.values(), key=lambda line: line.facts["seed"]),
        name=f"phantom-{seed}",
        kind="phantom",
        licence=LICENCE,
        seed=seed,
        needs=("anchor", "labels", "ecg", "truth") if files else (),
        splits=splits,
        settings={"subjects": subjects, **how},
    )


def _claim(out: Path, settings: dict[str, Any]) -> None:
    """Take a folder for these settings, or check that it was taken for the same ones."""
    path = out / SETTINGS
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = sorted(name for name in before.keys() | settings.keys() if before.get(name) != settings.get(name))
        if changed:
            raise CohortError(
                f"A folder of phantoms is continued with the settings it was begun with; in {out} these differ: "
                f"{', '.join(changed)}. Choose another folder."
            )
        return
    if out.is_dir() and any(out.iterdir()):
        raise CohortError(f"A new cohort needs an empty folder; {out} holds other files. Choose another folder.")
    out.mkdir(parents=True, exist_ok=True)
    write_json(path, settings)


def _make(part: list[tuple]) -> list[Subject]:
    lines = []
    for out, seed, options, files, splits in part:
        split = splits.split_of(subject_id(seed))
        make = write_subject(out, seed, options, split) if files else planned_subject(seed, options, split)
        lines.append(make)
    return lines
