"""Follows a job from the GUI: one timer, no threads, no pumping of events."""

import logging
import shutil
from collections.abc import Callable

import qt

from COFGeneratorLib.jobs import JobRunner, JobUpdate

INTERVAL_MS = 200


class JobMonitor:
    """Polls one job on the main thread: passes on every ``JobUpdate``, and once its runner when it has ended."""

    def __init__(self, on_update: Callable[[JobUpdate], None], on_end: Callable[[JobRunner], None]) -> None:
        self._on_update, self._on_end = on_update, on_end
        self.runner: JobRunner | None = None
        self._timer = qt.QTimer()
        self._timer.setInterval(INTERVAL_MS)
        self._timer.connect("timeout()", self.tick)

    @property
    def active(self) -> bool:
        """Whether a job is being followed."""
        return self.runner is not None

    def follow(self, runner: JobRunner) -> None:
        """Start to follow a job; the one followed before is let go."""
        self.runner = runner
        self._timer.start()

    def release(self) -> JobRunner | None:
        """Stop following without touching the job, and return it."""
        self._timer.stop()
        runner, self.runner = self.runner, None
        return runner

    def abandon(self) -> bool:
        """Stop following, end the job and take its folder away; returns whether there was one."""
        runner = self.release()
        if runner is None:
            return False
        runner.kill()
        shutil.rmtree(runner.folder.root, ignore_errors=True)
        return True

    def tick(self) -> None:
        """Look once. What a callback raises would be lost in a Qt slot, so it is logged and the rest goes on."""
        runner = self.runner
        if runner is None:
            return
        update = runner.poll()
        try:
            self._on_update(update)
        except Exception:
            logging.exception("The progress of a job could not be shown")
        if update.state.ended and self.runner is runner:
            self.release()
            try:
                self._on_end(runner)
            except Exception:
                logging.exception("The end of a job could not be handled")
