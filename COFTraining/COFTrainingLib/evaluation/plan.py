"""The plan of an evaluation, which every process is handed."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

Progress = Callable[[int, int], None]
"""Called with (done, total)."""


@dataclass(frozen=True)
class Plan:
    """What is evaluated; small and picklable, so that every process can make the same of it.

    Args:
        cohort: Folder of the cohort.
        subjects: Ids, in the manifest's order.
        models: (name, folder) of bundles, the main one first.
        predictions: (name, folder) of others' cines.
        comparators: (name, folder) of finished runs of ``cof train comparator``.
        motions: Prepared motion library (``comparators.library``), or None.
        seed: Of random draws.
        features: Weights of DINOv2 for the Fréchet distances; the segmenter's features where None.
        store: Folder of the store, for pictures; none are kept where None.
        assessor: Folder of the independent assessor, or None.
        assessor_refused: Why it must not judge here; empty where it may.
        assessor_subjects, assessor_frames: How many subjects, and frames of each, the assessor reads; all where None.
        anchor_subjects: How many subjects are given every anchor; all where None.
        variants: Also evaluate what each part of the main model adds (``comparators.models.main_methods``).
        device: Where networks run.
        review: Modes of the hard cases as a reader marked them, or None.
    """

    cohort: Path
    subjects: tuple[str, ...]
    models: tuple[tuple[str, Path], ...] = ()
    predictions: tuple[tuple[str, Path], ...] = ()
    comparators: tuple[tuple[str, Path], ...] = ()
    motions: Path | None = None
    seed: int = 0
    features: Path | None = None
    store: Path | None = None
    assessor: Path | None = None
    assessor_refused: str = ""
    assessor_subjects: int | None = None
    assessor_frames: int | None = None
    anchor_subjects: int | None = None
    variants: bool = False
    device: str = "cpu"
    review: Path | None = None

    @property
    def main(self) -> str:
        """Name of the model that the report is about; empty where there is none."""
        return self.models[0][0] if self.models else ""

    def about(self, methods: Iterable[str]) -> str:
        """Return which of the methods that have results a report is about: the main model, else the first, if any."""
        methods = list(methods)
        return self.main if self.main in methods else next(iter(methods), "")

    def partner(self, subject: str) -> str:
        """Return whose ECG, motion or cine a subject is given where another's is wanted: never its own."""
        place = self.subjects.index(subject)
        return self.subjects[(place + max(1, len(self.subjects) // 2)) % len(self.subjects)]
