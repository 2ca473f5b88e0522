"""Held-out phantom cases: what a user would have (stack, labels, ECG file's content) and what is true."""

from dataclasses import dataclass

import numpy as np
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.ecg.beats import analyse_ecg
from COFGeneratorLib.ecg.cycle import EcgCycle
from COFGeneratorLib.ecg.record import EcgRecord
from COFGeneratorLib.function import FunctionReport, measure_function

from COFTrainingLib.phantom.electrocardiogram import synthesise_ecg
from COFTrainingLib.phantom.subject import PhantomSubject, StackPlan, draw_subject, plan_stack

MARGIN_MM = 14.0
"""The true labels of later frames are sought this far around those of the anchor."""


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
        """Return the function measured from the exact labels of every frame, on the anchor's grid."""
        points = self.plan.heart_points()
        spacing = self.anchor.spacing_mm
        _, rows, columns = np.nonzero(self.labels)
        reach = np.ceil(MARGIN_MM / spacing).astype(int)
        box = (
            slice(None),
            slice(max(rows.min() - reach[1], 0), rows.max() + reach[1] + 1),
            slice(max(columns.min() - reach[2], 0), columns.max() + reach[2] + 1),
        )
        rr_ms = self.subject.physiology.rr_ms
        time_ms = np.arange(frames) / frames * rr_ms
        labels = np.stack([self.subject.heart.label_at(points[box], t) for t in time_ms])
        return measure_function(labels, self.anchor.ijk_to_ras, time_ms, rr_ms, 60000.0 / rr_ms, "user", 0.0)


def draw_case(seed: int, spacing_mm: tuple[float, float] | None = None, **overrides) -> PhantomCase:
    """Draw a held-out case at natural prevalence; forced fields of the physiology give counterfactuals.

    The stack is flat in its tissues (exact labels are given with it); appearance is the segmenter's matter.
    """
    subject = draw_subject(seed, **overrides)
    rng = np.random.default_rng([seed, 5])
    plan = plan_stack(subject, rng, spacing_mm)
    labels = subject.heart.label_at(plan.heart_points())
    grey = np.array([60.0, 220.0, 80.0, 210.0], dtype=np.float32)[labels]
    anchor = SaxStack(grey + rng.normal(0.0, 6.0, grey.shape).astype(np.float32), plan.ijk_to_ras)
    record, _ = synthesise_ecg(subject.physiology, np.random.default_rng([seed, 6]))
    return PhantomCase(subject, plan, anchor, labels, record, analyse_ecg(record))
