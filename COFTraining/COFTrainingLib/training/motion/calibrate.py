"""What is fitted after training, on subjects that no network saw: the gain on motion; and the population's motion."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.ecg import analyse_ecg, read_ecg
from COFGeneratorLib.ecg.cycle import EcgCycle
from COFGeneratorLib.generator.bundle import Bundle
from COFGeneratorLib.generator.model import MotionModel
from COFGeneratorLib.motion.relative import from_the_r_wave

from COFTrainingLib.cohort.manifest import Cohort
from COFTrainingLib.phantom.cases import draw_case
from COFTrainingLib.training.examples.cine_data import CineCache
from COFTrainingLib.training.examples.cine_example import anchor_labels, of_anchor
from COFTrainingLib.training.examples.flow_data import FlowData
from COFTrainingLib.training.motion.trial import measure, move, prepared

CALIBRATION_FRAMES = 50
PROBE_GAIN = 1.08


def fit_gain(
    model: MotionModel, first_seed: int, subjects: int = 48, progress: Callable[[int, int], None] | None = None
) -> float:
    """Return the factor on velocities that takes the mean EF error off validation subjects.

    Regression shrinks motion, and a coarse grid blurs it a little; one scalar mends most of
    both. EF is nearly linear in the gain, so two evaluations and a secant are enough.

    Args:
        model: The model; its present gain is ignored.
        first_seed, subjects: Validation subjects at natural prevalence, disjoint from all training seeds.
    """
    cases = (draw_case(first_seed + n) for n in range(subjects))
    known = ((case, case.true_function(CALIBRATION_FRAMES).ef_percent) for case in cases)
    return _secant(model, known, subjects, progress)


def _secant(
    model: MotionModel, cases: Iterable[tuple[Any, float]], total: int, progress: Callable[[int, int], None] | None
) -> float:
    """Return the gain at which the mean EF error over (case, true EF in percent) vanishes."""
    low, high = (replace(model, gain=gain) for gain in (1.0, PROBE_GAIN))
    bias: dict[float, list[float]] = {1.0: [], PROBE_GAIN: []}
    for n, (case, truth) in enumerate(cases):
        for candidate in (low, high):
            bundle = Bundle(Path(), {"name": "candidate", "version": "0"}, candidate, None)
            ready = prepared(bundle, case)
            velocity = candidate.velocities(ready.maps, ready.condition, image=ready.image)[0][0]
            native = move(bundle, case, ready, velocity, CALIBRATION_FRAMES)
            found = measure(case, native, CALIBRATION_FRAMES, case.cycle.rr_ms, folded=False)
            bias[candidate.gain].append(found.ef_percent - truth)
        if progress:
            progress(n + 1, total)
    at_one, at_probe = np.mean(bias[1.0]), np.mean(bias[PROBE_GAIN])
    return float(np.clip(1.0 - at_one * (PROBE_GAIN - 1.0) / (at_probe - at_one), 0.8, 1.4))


@dataclass(frozen=True)
class _CineCase:
    """A recorded subject as the arms of the comparison take it."""

    anchor: SaxStack
    labels: np.ndarray
    cycle: EcgCycle


def fit_gain_on_cines(
    model: MotionModel,
    cohort: Cohort,
    cache: CineCache,
    chosen: np.ndarray,
    segmenter: str,
    progress: Callable[[int, int], None] | None = None,
) -> float:
    """Return the gain as ``fit_gain`` does, on subjects of a recorded cohort.

    Their EF is that of their examples' volumes, at the phases of the motion grid: counted in labels of the cine where
    it has them, else what the registration makes of the anchor's labels.

    Args:
        model: The model; its present gain is ignored.
        cohort: The cohort.
        cache: Its examples.
        chosen: Indices of the subjects' first examples.
        segmenter: Folder of the segmenter for anchors without labels, or empty.
        progress: Called with (subjects done, subjects).
    """

    def cases() -> Iterator[tuple[_CineCase, float]]:
        for index in chosen:
            subject = cache.rows[index][0]
            anchor = of_anchor(cohort, subject)
            labels, _ = anchor_labels(cohort, subject, anchor, segmenter)
            lv = cache.arrays["volumes"][index][:, 0]
            case = _CineCase(anchor, labels, analyse_ecg(read_ecg(cohort.path(subject, "ecg"))))
            yield case, 100.0 * (1.0 - float(lv.min()) / float(lv.max()))

    return _secant(model, cases(), len(chosen), progress)


def population_velocity(data: FlowData) -> torch.Tensor:
    """Return the mean velocity of all training subjects in the heart's frame, (T, 3, D, H, W) grid voxels.

    The baseline "population-mean motion": what anatomy's position and size alone would give.
    """
    total = torch.zeros(data.cache.arrays["velocity"].shape[1:], dtype=torch.float64)
    for index in data.train:
        velocity = torch.from_numpy(data.cache.arrays["velocity"][index].astype(np.float64))
        total += from_the_r_wave(velocity) if data.any_anchor else velocity
    return (total / len(data.train)).float()
