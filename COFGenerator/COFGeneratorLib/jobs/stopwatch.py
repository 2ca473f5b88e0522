"""Wall time by stage, and word of how far each is."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, total)."""


class Stopwatch:
    """Adds up wall time by stage, s; ``progress`` is told when a stage begins and when it is done."""

    def __init__(self, progress: Progress | None = None) -> None:
        self.progress, self.seconds = progress, dict[str, float]()
        self._begin = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time of a block towards a stage."""
        begin = time.perf_counter()
        self.report(name, 0, 1)
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - begin)
        self.report(name, 1, 1)

    def report(self, name: str, done: int, total: int) -> None:
        """Tell how far a stage is."""
        if self.progress:
            self.progress(name, done, total)

    def add(self, name: str, seconds: float) -> None:
        """Add time that was measured elsewhere."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def as_dict(self) -> dict[str, float]:
        """Return the stages and ``total``, rounded to ms."""
        total = time.perf_counter() - self._begin
        return {name: round(value, 3) for name, value in (self.seconds | {"total": total}).items()}
