"""Starts a job in its own process tree, follows it, ends it, and finds it again after a restart.

Nothing here blocks: ``poll`` is called by a timer (or by ``run_to_end`` in scripts), reads what is new, and moves the
state on. The state is on disk, so a job goes on when its starter exits and can be followed from elsewhere.
"""

import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from COFGeneratorLib.errors import JobError
from COFGeneratorLib.jobs import process
from COFGeneratorLib.jobs.events import HINTS
from COFGeneratorLib.jobs.folder import JobFolder, new_token
from COFGeneratorLib.jobs.state import JobState, JobUpdate
from COFGeneratorLib.jobs.tail import EventTail, TextTail, without_rewrites

GRACE_S = 3.0
"""A job has this long to stop by itself after it is asked, and as long again after it is told, before it is killed."""

CHUNKS_AT_END = 16
"""Of what an ended job has said; the rest is read at the next look, so that no look stalls or fills the memory."""

LOG_TAIL_LINES = 12
"""Lines of the log that a failure without an error event shows."""


class JobRunner:
    """One job, in a folder that ``start`` makes."""

    def __init__(self, directory: str | os.PathLike) -> None:
        self.folder = JobFolder(Path(directory).absolute())
        self.state = JobState.QUEUED
        self.reason = ""
        self.returncode: int | None = None
        self._process: subprocess.Popen | None = None
        self._head = process.Head()
        self._known = False
        self._expected: tuple[str, ...] = ()
        self._events, self._log = EventTail(self.folder.events), TextTail(self.folder.log)
        self._finish: dict[str, Any] = {}
        self._log_end = ""
        self._last_sign = time.monotonic()
        self._told_at: float | None = None
        self._asked_at: float | None = None
        self._grace_s = GRACE_S

    def start(
        self,
        argv: Sequence[str],
        *,
        kind: str = "job",
        title: str = "",
        env: Mapping[str, str] | None = None,
        expect: Sequence[str] = (),
    ) -> None:
        """Start the job.

        Args:
            argv: Program and arguments; the program should write events to ``folder.events``.
            kind: For finding jobs of one sort again, e.g. ``"train"``.
            title: Words for the user.
            env: The whole environment; a copy of ours where not given. UTF-8 and unbuffered output are added.
            expect: Files under ``result/`` without which success is not believed.

        Raises:
            JobError: If the folder is taken or the program cannot be started.
        """
        self.folder.create()
        self._expected = tuple(expect)
        token = new_token()
        self.folder.write(
            self.folder.job,
            {
                "kind": kind,
                "title": title,
                "argv": list(argv),
                "expect": list(expect),
                "created": time.time(),
                "token": token,
            },
        )
        environment = dict(os.environ if env is None else env)
        environment |= {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8:replace", "PYTHONUTF8": "1"}
        environment[process.MARK] = self.folder.mark(token)
        try:
            self._process = process.start_detached(argv, self.folder.log, self.folder.root, environment)
        except OSError as error:
            self._end(JobState.FAILED, f"{argv[0]} cannot be started ({error.strerror}). Check the chosen Python.")
            raise JobError(self.reason) from error
        pid = self._process.pid
        self._head, self._known = process.Head(pid, process.start_time(pid), environment[process.MARK]), True
        self._last_sign = time.monotonic()
        self._move(JobState.STARTING)

    @classmethod
    def attach(cls, directory: str | os.PathLike) -> "JobRunner":
        """Return a runner for a job that was started elsewhere or earlier; its events are told again from the first.

        Raises:
            JobError: If the folder holds no job, or its files are not what they must be.
        """
        runner = cls(directory)
        job, status = runner.folder.facts(), runner.folder.standing()
        runner._expected = job.expect
        if status.state not in set(JobState):
            raise JobError(
                f"The state of a job must be one of {', '.join(JobState)}; found something else in "
                f"{runner.folder.root}. Do not use this folder, or start the job again."
            )
        runner.state, runner.reason, runner.returncode = JobState(status.state), status.reason, status.returncode
        runner._head = process.Head(status.pid, status.process_started, runner.folder.mark(job.token))
        return runner

    @property
    def pid(self) -> int:
        """Id of the job's first process; 0 before it starts."""
        return self._head.pid

    def poll(self) -> JobUpdate:
        """Look once, without waiting."""
        finished = not self.state.ended and not self._is_running()  # asked first: what it wrote before is then on disk
        events, log = self._events.read(), self._log.read()
        for _ in range(CHUNKS_AT_END):
            more = (self._events.read(), self._log.read()) if finished else ([], "")
            if more == ([], ""):
                break
            events, log = events + more[0], log + more[1]
        else:
            finished = False  # it has said more than is read at one look
        log = without_rewrites(log)
        self._log_end = (self._log_end + log)[-8000:]
        for event in events:
            if event["event"] in ("done", "error", "cancelled"):
                self._finish = event
        if events or log:
            self._last_sign = time.monotonic()
            if self.state is JobState.STARTING:
                self._move(JobState.RUNNING)
        if finished:
            self._conclude()
        elif self._asked_at is not None and not self.state.ended:
            self._insist()
        return JobUpdate(self.state, events, log, self.reason, time.monotonic() - self._last_sign)

    def cancel(self, grace_s: float = GRACE_S) -> None:
        """Ask the job to stop; further calls of ``poll`` tell, then kill it if it does not."""
        if self.state.ended or self.state is JobState.QUEUED:
            return
        self.folder.ask_to_stop()
        if self._asked_at is None:
            self._asked_at = time.monotonic()
        self._grace_s = grace_s

    def kill(self) -> None:
        """End the whole tree at once and wait until it is gone."""
        if self.state.ended or self.state is JobState.QUEUED:
            return
        self.cancel(0.0)
        if self._is_running():
            process.end_tree(self._head, force=True, known=self._known)
        self.wait(10.0)

    def wait(self, timeout_s: float, on_update: Callable[[JobUpdate], None] | None = None) -> JobState:
        """Poll until the job has ended or the time is over; for scripts and tests, not for a GUI."""
        deadline = time.monotonic() + timeout_s
        while True:
            update = self.poll()
            if on_update is not None:
                on_update(update)
            if update.state.ended or time.monotonic() > deadline:
                return update.state
            time.sleep(0.02)

    def _is_running(self) -> bool:
        if self._process is not None:
            self.returncode = self._process.poll()
            return self.returncode is None
        running = process.is_running(self._head)
        self._known |= running
        return running

    def _insist(self) -> None:
        now = time.monotonic()
        if self._asked_at is None:
            return
        if self._told_at is None and now - self._asked_at >= self._grace_s:
            self._told_at = now
            process.end_tree(self._head, force=False, known=self._known)
        elif self._told_at is not None and now - self._told_at >= self._grace_s:
            process.end_tree(self._head, force=True, known=self._known)

    def _conclude(self) -> None:
        """Decide how a job ended whose process is gone, and end what it may have left running."""
        process.end_tree(self._head, force=True, known=self._known)
        missing = [name for name in self._expected if not os.path.exists(self.folder.result / name)]
        said = self._finish.get("event")
        if said == "done" and self.returncode in (0, None) and not missing:
            self._end(JobState.SUCCEEDED)
        elif self._asked_at is not None or self.folder.cancel.exists():
            self._end(JobState.CANCELLED, "Stopped as asked.")
        elif said == "error":
            words = (self._finish.get("message", ""), self._finish.get("hint", ""))
            self._end(JobState.FAILED, "\n".join(word for word in words if word))
        elif said == "done" and missing:
            self._end(JobState.FAILED, f"It ended without making {', '.join(missing)}. {HINTS['internal']}")
        elif self.returncode is None:
            self._end(JobState.LOST, "It ended unwatched, without saying how. Start or resume it again.")
        else:
            self._end(JobState.FAILED, self._words_for_exit())

    def _words_for_exit(self) -> str:
        tail = "\n".join([line for line in self._log_end.splitlines() if line.strip()][-LOG_TAIL_LINES:])
        if self.returncode in (-9, 137):
            return f"The system ended it, most often for lack of memory. {HINTS['oom']}"
        return f"It ended with exit code {self.returncode}. {HINTS['internal']}" + (f"\n{tail}" if tail else "")

    def _end(self, state: JobState, reason: str = "") -> None:
        self.reason = reason
        self._move(state)

    def _move(self, state: JobState) -> None:
        self.state = state
        self.folder.write(
            self.folder.status,
            {
                "state": state,
                "reason": self.reason,
                "returncode": self.returncode,
                "pid": self._head.pid,
                "process_started": self._head.started,
                "updated": time.time(),
            },
        )


def run_to_end(
    runner: JobRunner, on_update: Callable[[JobUpdate], None] | None = None, pump: Callable[[], None] | None = None
) -> None:
    """Follow a started job to its end; for scripts, where the caller has nothing else to do.

    ``pump`` is called between looks, e.g. to keep an application's windows alive.

    Raises:
        JobError: If it did not succeed.
    """
    try:
        while not runner.state.ended:
            update = runner.poll()
            if on_update is not None:
                on_update(update)
            if pump is not None:
                pump()
            time.sleep(0.05)
    except BaseException:
        runner.kill()
        raise
    if runner.state is not JobState.SUCCEEDED:
        raise JobError(f"{runner.reason} (log: {runner.folder.log})")


def find_jobs(root: str | os.PathLike, kind: str | None = None) -> list[Path]:
    """Return the folders of jobs (of one kind, where given) directly under ``root``, newest first."""
    found = []
    for path in Path(root).glob("*/job.json"):
        try:
            job = JobFolder(path.parent).facts()
        except JobError:
            continue
        if kind is None or job.kind == kind:
            found.append((job.created, path.parent))
    return [folder for _, folder in sorted(found, reverse=True)]
