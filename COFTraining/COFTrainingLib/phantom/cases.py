"""Held-out phantom cases: what a user would have (stack, labels, ECG file's content) and what is true."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.ecg.beats import analyse_ecg
from COFGeneratorLib.ecg.cycle import EcgCycle
from COFGeneratorLib.ecg.record import EcgRecord
from COFGeneratorLib.function import FunctionReport, VolumeCurves, report_from_curves, volume_curves

from COFTrainingLib.phantom.electrocardiogram import synthesise_ecg
from COFTrainingLib.phantom.subject import PhantomSubject, StackPlan, draw_subject, plan_stack

SLICE_PITCH_MM, PIXEL_MM = (8.0, 9.0, 10.0), (1.3, 2.0)
"""Of held-out stacks: what clinical protocols use (SCMR: 6–8 mm slices, 2–4 mm gaps)."""


@dataclass(frozen=True)
class PhantomCase:
    """One held-out subject.

    Attributes:
        subject: The phantom.
        plan: Geometry of its stack.
        anchor: The stack at the R wave.
        labels: (D, H, W) exact labels of the anchor.
        record, cycle: The ECG and its analysis, R peaks found in the record as in a real one.
    """

    subject: PhantomSubject
    plan: StackPlan
    anchor: SaxStack
    labels: np.ndarray
    record: EcgRecord
    cycle: EcgCycle

    def true_function(self, frames: int) -> FunctionReport:
        """Return the true function: the phantom's closed-form volumes relative to the R wave, times the labelled ones.

        Scaled so that what the anchor's slices miss of the heart, or count double, is not charged to the motion; EF and
        the time of ES are the phantom's own.
        """
        rr_ms = self.subject.physiology.rr_ms
        time_ms = np.arange(frames) / frames * rr_ms
        heart = self.subject.heart
        lv, rv = heart.lv_volume_ml(time_ms), heart.rv_volume_ml(time_ms)
        anchor = volume_curves(self.labels[None], self.anchor.ijk_to_ras)
        curves = VolumeCurves(
            anchor.lv_ml[0] * lv / lv[0], np.repeat(anchor.myocardium_ml[0], frames), anchor.rv_ml[0] * rv / rv[0]
        )
        return report_from_curves(curves, time_ms, rr_ms, 60000.0 / rr_ms, labels_from="user", folded_fraction=0.0)


def draw_case(seed: int, spacing_mm: tuple[float, float] | None = None, **overrides: Any) -> PhantomCase:
    """Draw a held-out case at natural prevalence; forced fields of the physiology give counterfactuals.

    The stack is flat in its tissues (exact labels are given with it); appearance is the segmenter's matter.
    """
    subject = draw_subject(seed, **overrides)
    rng = np.random.default_rng([seed, 5])
    if spacing_mm is None:
        spacing_mm = (float(rng.choice(SLICE_PITCH_MM)), float(rng.uniform(*PIXEL_MM)))
    plan = plan_stack(subject, rng, spacing_mm, covers_base=True)
    labels = subject.heart.label_at(plan.heart_points())
    grey = np.array([60.0, 220.0, 80.0, 210.0], dtype=np.float32)[labels]
    anchor = SaxStack(grey + rng.normal(0.0, 6.0, grey.shape).astype(np.float32), plan.ijk_to_ras)
    record, _ = synthesise_ecg(subject.physiology, np.random.default_rng([seed, 6]))
    return PhantomCase(subject, plan, anchor, labels, record, analyse_ecg(record))
