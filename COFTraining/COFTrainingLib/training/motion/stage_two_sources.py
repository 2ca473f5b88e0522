"""What a training of Stage 2 is given beside its settings."""

from dataclasses import dataclass
from pathlib import Path

from COFGeneratorLib.generator.encoders.named import NamedEncoder

from COFTrainingLib.cohort.manifest import Cohort
from COFTrainingLib.training.examples.cine_example import Recipe


@dataclass(frozen=True)
class Sources:
    """What a training of Stage 2 is given beside its settings.

    Args:
        cohort: Phantoms, or recorded cines with ECGs; its test subjects are never used.
        ecg_weights: Finished run or weights of an ECG encoder to adopt; ``RUN/ecg`` or a new training where None.
        teacher: Finished run of the registration teacher, for recorded cines, and for a flow that looks at images or
            learns phantoms' motion from them; ``RUN/teacher`` where None, then the default model's.
        segmenter: Run or bundle with a segmenter, for anchors without labels; ``RUN/segmenter`` or the default
            model's where None.
        cache: Folder of the examples, to share them between runs; in the run folder where None.
        workers: Processes that make examples and records.
        scheduler: Dask scheduler that makes the examples of recorded cines, see ``jobs.workers.spread``.
        samples: Write a small cine of a validation subject to ``RUN/samples`` at each validation and at the end.
        start_from: Bundle whose weights and scale of motion the flow begins with.
        listener: ECG encoder of others that the papers' flow hears through; ours where None.
    """

    cohort: Cohort | None = None
    ecg_weights: Path | str | None = None
    teacher: Path | str | None = None
    segmenter: Path | str | None = None
    cache: Path | str | None = None
    workers: int = 1
    scheduler: str | None = None
    samples: bool = False
    start_from: Path | str | None = None
    listener: NamedEncoder | None = None


@dataclass(frozen=True)
class Recorded:
    """A cohort of recordings, and how examples are made of its cines."""

    cohort: Cohort
    recipe: Recipe
