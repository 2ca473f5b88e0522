"""Trained comparators of other families, drawn and judged as anyone's cines are."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from COFGeneratorLib.anatomy.readers import CineStack
from COFGeneratorLib.generator.bundle import Bundle

from COFTrainingLib.evaluation.cases import EvaluationCase
from COFTrainingLib.evaluation.comparators.base import Prediction, Shared
from COFTrainingLib.evaluation.comparators.predictions import Reader, of_cine
from COFTrainingLib.training.comparators.comparator import comparator_facts, load_comparator
from COFTrainingLib.training.segmenter.assessor_network import weights_sha256


@dataclass(frozen=True)
class NativeComparator:
    """A finished run of ``cof train comparator``: one draw a case.

    Args:
        name: As it stands in tables.
        run: Its folder.
        bundle: Whose segmenter labels its cines where there is no assessor, or None.
        assessor: Folder of the independent assessor, or None.
        seed: Of the draws.
        device: Where networks run.
        role: As in ``ModelMethod``.
    """

    name: str
    run: Path
    bundle: Bundle | None
    assessor: Path | None = None
    seed: int = 0
    device: str = "cpu"
    role: str = "prediction"

    @property
    def identity(self) -> str:
        """Changes with the weights, the draw and who labels."""
        weights = "".join(digest[:8] for _, digest in sorted(comparator_facts(self.run)["weights_sha256"].items()))
        judged = "" if self.assessor is None else weights_sha256(self.assessor)[:16]
        return f"{weights}:{self.seed}:{judged}"

    def predict(self, case: EvaluationCase, shared: Shared) -> Prediction:
        """Return the cine of a case."""
        seed = self.seed + sum(case.id.encode())
        frames = _loaded(self.run, self.device).generate(case.anchor, case.labels, case.cycle, seed)
        reader = Reader(self.bundle, self.assessor, self.device)
        return of_cine(CineStack(frames, case.anchor.ijk_to_ras), case, reader)


_loaded = cache(load_comparator)
"""Once a process."""
