"""A phantom's own images for Stage 2: the anchor as the reference anatomy sees it, and motion as the teacher finds it.

Images are rendered on the teacher's plane at once, slice by slice of the planned stack, so that nothing is rendered
that no network looks at.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from COFGeneratorLib.anatomy.heart_frame import HeartFrame
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.files import weights_hash
from COFGeneratorLib.registration.teacher_grid import heart_centred_grid
from COFGeneratorLib.registration.teacher_network import TeacherConfig

from COFTrainingLib.cohort.synthetic.phantom_images import CaseRenderer
from COFTrainingLib.phantom.subject import PhantomSubject, StackPlan
from COFTrainingLib.training.examples.cine_motion import MotionField, load_teacher, teacher_motion

MOTIONS = ("exact", "teacher")
PRIOR = 0.02
"""Of the refinement, 1/mm²: the teacher learnt on phantoms, and of their motion along the slices' normal, which images
show badly, its answer knows more than correlation does. Mean error along (k, j, i) in two hearts in systole: unrefined
1.27, 1.53, 1.82 mm; refined without a prior 2.64, 1.65, 1.92; with it, in ten steps, 1.33, 1.45, 1.71."""
SLAB = 2
"""Samples through the thickness of a slice."""


@dataclass(frozen=True)
class PhantomMotion:
    """How the motion of phantoms is found.

    Args:
        motion: ``"exact"``, the phantom's own, or ``"teacher"``, what the teacher finds in the images of a beat: the
            paper's, whose targets are never better than its teacher.
        refinement_steps: Adam steps of instance optimisation after the teacher.
    """

    motion: str = "exact"
    refinement_steps: int = 10

    def __post_init__(self) -> None:
        if self.motion not in MOTIONS or self.refinement_steps < 0:
            raise TrainingError(
                f"Motion of phantoms is {' or '.join(MOTIONS)}, refined in 0 steps or more; found {self.motion!r} and "
                f"{self.refinement_steps}. Correct the settings flow.phantoms."
            )


@dataclass(frozen=True)
class PhantomImages:
    """What is made of phantoms' images beside their exact anatomy.

    Args:
        teacher: Folder of the registration teacher: its plane, and its encoder in the reference anatomy.
        found: How motion is found.
    """

    teacher: str
    found: PhantomMotion = field(default_factory=PhantomMotion)

    def facts(self) -> dict[str, Any]:
        """Return what decides the examples, with the teacher's weights in place of its folder."""
        found, plane = self.found, list(load_teacher(self.teacher).config.plane)
        steps = {"refinement_steps": found.refinement_steps} if found.motion == "teacher" else {}
        return {"teacher_sha256": weights_hash(self.teacher), "plane": plane, "motion": found.motion, **steps}


def view_plan(plan: StackPlan, frame: HeartFrame, teacher: TeacherConfig) -> StackPlan:
    """Return the slices of a plan on the teacher's heart-centred plane, base first."""
    view = heart_centred_grid(teacher, plan.shape, plan.ijk_to_ras, frame)
    shifts = plan.shifts_mm if view.kji_to_stack[0, 0] > 0 else plan.shifts_mm[::-1]
    return StackPlan(view.shape, view.kji_to_ras @ np.eye(4)[[2, 1, 0, 3]], plan.ras_to_heart, shifts)


def rendered(subject: PhantomSubject, view: StackPlan, times_ms: np.ndarray) -> np.ndarray:
    """Return the images of a beat at times (T,) from the R wave, (T, D, H, W) float32, as one scan."""
    renderer, points = CaseRenderer(subject, view, SLAB), view.heart_points()
    frames = [renderer.frame(float(t), points + subject.heart.pull_mm(points, t) if t else points) for t in times_ms]
    return np.stack(frames).astype(np.float32)


def anchor_and_motion(
    subject: PhantomSubject, plan: StackPlan, frame: HeartFrame, images: PhantomImages, times_ms: np.ndarray,
    anchor_ms: float,
) -> tuple[SaxStack, MotionField | None]:  # fmt: skip
    """Return the anchor's image on its view, and its motion where the teacher is to find it.

    Args:
        subject: The phantom.
        plan: Its stack.
        frame: The heart's frame, as found in the labels.
        images: What is made.
        times_ms: (T,) times from the R wave at which motion is wanted.
        anchor_ms: When the anchor is taken.
    """
    teacher = load_teacher(images.teacher)
    view = view_plan(plan, frame, teacher.config)
    if images.found.motion == "exact":
        return SaxStack(rendered(subject, view, np.array([anchor_ms]))[0], view.ijk_to_ras), None
    frames = rendered(subject, view, np.append(anchor_ms, times_ms))
    anchor = SaxStack(frames[0], view.ijk_to_ras)
    return anchor, teacher_motion(teacher, anchor, frames[1:], frame, images.found.refinement_steps, PRIOR)
