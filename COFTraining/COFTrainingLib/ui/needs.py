"""What each job of the panel needs before it can start, and what of it is missing, in words."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from COFGeneratorLib.errors import ChainOfFlowError
from slicer.i18n import tr as _

from COFTrainingLib.ui import commands

START = ("runs", "new", "stage")

BUTTONS = {
    "synthesizeButton": (("cohort path", "runs"), "Make a cohort of synthetic hearts with ECGs."),
    "importButton": (("cohort path", "runs", "source"), "Write the manifest of these recordings."),
    "checkButton": (("cohort", "runs"), "Check every subject and show the ledger."),
    "startButton": (START, "Start training; it goes on when Slicer is closed."),
    "resumeButton": (("runs", "run", "stage"), "Go on from the run's last checkpoint."),
    "exportButton": (("runs", "run", "bundle path"), "Write the run as a model bundle."),
    "evaluateButton": (("cohort", "runs", "bundle"), "Evaluate the bundle on the cohort."),
}
"""Button that starts a job → what the job needs, see ``why_not``, and what it does, in words."""


@dataclass(frozen=True)
class Choices:
    """What the panel holds.

    Attributes:
        stage: Network.
        run_name: Name of the run's folder.
        runs: The runs folder; here and below None where the field is empty.
        cohort: Folder of a cohort.
        bundle: Folder of a model bundle.
        ecg_run: Run of the ECG encoder.
        source: What is imported.
    """

    stage: str
    run_name: str
    runs: Path | None
    cohort: Path | None
    bundle: Path | None
    ecg_run: Path | None
    source: Path | None


def why_not(needs: Collection[str], chosen: Choices) -> str:
    """Return why a job cannot start, in words; empty if it can.

    Args:
        needs: Out of ``"cohort"`` (exists), ``"cohort path"``, ``"runs"``, ``"new"`` and ``"run"`` (a new or an
            existing run), ``"stage"`` (what the chosen network needs), ``"source"`` (of an import, exists),
            ``"bundle"`` (exists), ``"bundle path"``.
        chosen: What the panel holds.
    """
    cohort, bundle, ecg_run, source = chosen.cohort, chosen.bundle, chosen.ecg_run, chosen.source
    if {"cohort", "cohort path"} & set(needs) and cohort is None:
        return _("Choose the folder of a cohort.")
    if cohort is not None and {"cohort", "stage"} & set(needs) and not cohort.is_dir():
        return _("The cohort folder does not exist.")
    if "runs" in needs and chosen.runs is None:
        return _("Choose a folder for runs.")
    if "stage" in needs and chosen.stage == "flow" and ecg_run is not None and not ecg_run.exists():
        return _("The run of the ECG encoder does not exist. Leave it empty to train one first.")
    if {"new", "run"} & set(needs):
        reason = _why_not_this_run(needs, chosen)
        if reason:
            return reason
    if "source" in needs and source is None:
        return _("Choose what to import: a table, or the folder of the downloads.")
    if "source" in needs and source is not None and not source.exists():
        return _("What is to be imported does not exist.")
    if {"bundle", "bundle path"} & set(needs) and bundle is None:
        return _("Choose the folder of the bundle.")
    if "bundle" in needs and bundle is not None and not (bundle / "configs" / "metadata.json").is_file():
        return _("The folder is not a model bundle.")
    return ""


def _why_not_this_run(needs: Collection[str], chosen: Choices) -> str:
    try:
        run = commands.run_folder(chosen.runs or Path(), chosen.run_name)
    except ChainOfFlowError as error:
        return str(error)
    if "new" in needs and run.exists():
        return _("There is a run of this name already. Resume it or choose another name.")
    if "run" in needs and not run.is_dir():
        return _("There is no run of this name in the runs folder.")
    return ""
