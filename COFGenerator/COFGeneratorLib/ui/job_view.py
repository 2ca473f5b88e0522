"""Shows a job: progress bar, a line in plain words, the log."""

from collections.abc import Mapping
from typing import Any

from slicer.i18n import tr as _

from COFGeneratorLib.jobs import JobState, JobUpdate

STAGES = {
    "reading": "Reading the inputs",
    "loading": "Loading the model",
    "segmenting": "Finding the heart",
    "sampling": "Generating motion",
    "warping": "Moving the anchor",
    "measuring": "Measuring function",
    "writing": "Writing the result",
    "training": "Training",
}
"""Words for the stages that jobs name; others are shown as they are."""

SILENT_S = 60.0
"""After this long without a sign the user is told, so that a hang does not look like work."""


class JobView:
    """Works on three widgets of a module.

    Args:
        progress_bar: QProgressBar.
        status_label: QLabel that wraps words.
        log_edit: QPlainTextEdit, read-only, with a limit of blocks.
    """

    def __init__(self, progress_bar: Any, status_label: Any, log_edit: Any) -> None:
        self._bar, self._status, self._log = progress_bar, status_label, log_edit
        self.warnings: list[str] = []
        self.idle("")

    def idle(self, words: str) -> None:
        """Show that nothing is running."""
        self._bar.visible = False
        self.say(words)

    def say(self, words: str) -> None:
        """Set the line of plain words."""
        self._status.text = words
        self._status.visible = bool(words)

    def begin(self, words: str) -> None:
        """Show that a job has been started."""
        self.warnings = []
        self._log.plainText = ""
        self._bar.visible = True
        self._bar.setRange(0, 0)
        self.say(words)

    def update(self, update: JobUpdate) -> None:
        """Show what is new."""
        if update.log:
            self._log.appendPlainText(update.log.rstrip("\n"))
        for event in update.events:
            if event["event"] == "progress":
                self._show_progress(event)
            elif event["event"] == "warning":
                self.warnings.append(str(event.get("message", "")))
                self._log.appendPlainText(self.warnings[-1])
        if not update.state.ended and update.silent_s > SILENT_S:
            self.say(
                _("No sign of progress for {seconds:.0f} s. You can wait or cancel.").format(seconds=update.silent_s)
            )

    def end(self, state: JobState, reason: str, success: str) -> None:
        """Show how the job ended."""
        self._bar.visible = False
        titles = {
            JobState.SUCCEEDED: success,
            JobState.CANCELLED: _("Stopped."),
            JobState.FAILED: _("It did not work: {reason}").format(reason=reason),
            JobState.LOST: _("Lost sight of it: {reason}").format(reason=reason),
        }
        self.say(titles[state])

    def log_text(self) -> str:
        """Return what the log shows."""
        return self._log.toPlainText()

    def _show_progress(self, event: Mapping[str, Any]) -> None:
        done, total = event.get("done") or 0, event.get("total") or 0
        words = _(STAGES.get(event.get("stage"), str(event.get("stage"))))
        if total:
            self._bar.setRange(0, 1000)
            self._bar.value = int(1000 * done / total)
            words = _("{stage} ({done:g} of {total:g})").format(stage=words, done=done, total=total)
        else:
            self._bar.setRange(0, 0)
        eta_s = event.get("eta_s")
        if eta_s is not None and eta_s >= 1.0:
            words = _("{stage}, {time} left").format(stage=words, time=duration_words(eta_s))
        self.say(words)


def duration_words(seconds: float) -> str:
    """Return a time span as people say it."""
    if seconds < 90:
        return _("{n:.0f} s").format(n=seconds)
    if seconds < 5400:
        return _("{n:.0f} min").format(n=seconds / 60)
    return _("{n:.1f} h").format(n=seconds / 3600)
