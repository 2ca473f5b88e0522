"""Two visits of one person: the same anatomy on two days, with another physiology, position and planning.

Recorded cohorts have them as two subjects of one person. A phantom's earlier visit is drawn from its seed: heart rate,
contractility and timing anew, sex, conduction and infarct as they are, 3 % change of size, a few millimetres and
degrees of position, its own slice positions.
"""

from dataclasses import replace

import numpy as np
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.ecg import analyse_ecg

from COFTrainingLib.cohort.manifest import Cohort, Subject
from COFTrainingLib.cohort.synthetic.phantom_images import render_case
from COFTrainingLib.evaluation.cases import EvaluationCase
from COFTrainingLib.phantom.cases import PhantomCase, draw_case
from COFTrainingLib.phantom.electrocardiogram import synthesise_ecg
from COFTrainingLib.phantom.heart import BeatingHeart
from COFTrainingLib.phantom.physiology import draw_physiology
from COFTrainingLib.phantom.prevalence import Prevalence
from COFTrainingLib.phantom.shape import HeartShape
from COFTrainingLib.phantom.subject import PhantomSubject, plan_stack

STREAM = 71
SIZE_SD, SHIFT_SD_MM, TURN_SD_RAD = 0.03, 8.0, np.deg2rad(4.0)
KEPT = ("sex", "age_years", "bsa_m2", "lv_mass_index", "hypertrophy", "cardiomyopathy", "athlete", "rv_load",
        "conduction", "qrsd_ms", "infarct_territory", "infarct_extent", "atrial_fibrillation")  # fmt: skip
LENGTHS = ("radius_mm", "length_mm", "wall_mm", "apex_wall_mm", "rv_depth_mm", "rv_wall_mm", "rv_base_mm")


def earlier_visit(cohort: Cohort, subject: Subject) -> Subject | None:
    """Return another visit of the person that comes before this one in the manifest, or None."""
    visits = [other for other in cohort.used() if other.person == subject.person]
    place = next(n for n, other in enumerate(visits) if other.id == subject.id)
    return visits[place - 1] if place > 0 else None


def phantom_prior(cohort: Cohort, subject: Subject, frames: int, rng_extra: int = 0) -> EvaluationCase:
    """Return the earlier visit of a phantom: frame 0 as an image, labels of every frame.

    ``rng_extra``: another number, another earlier visit.
    """
    settings, seed = cohort.header.settings, int(subject.facts["seed"])
    prevalence = Prevalence(**settings["prevalence"])
    spacing = tuple(settings["spacing_mm"]) if settings.get("spacing_mm") else None
    now = draw_case(seed, spacing, prevalence=prevalence)
    rng = np.random.default_rng([seed, STREAM, rng_extra])
    known = {name: getattr(now.subject.physiology, name) for name in KEPT}
    if not known["conduction"]:
        known.pop("qrsd_ms")  # without a block it varies from day to day
    physiology = draw_physiology(rng, prevalence=prevalence, **known)
    size = float(np.clip(1.0 + rng.normal(0.0, SIZE_SD), 0.9, 1.1))
    shape = now.subject.heart.shape
    assert isinstance(shape, HeartShape)  # tables are made of it where images are drawn
    shape = replace(shape, **{name: size * getattr(shape, name) for name in LENGTHS})
    earlier = PhantomSubject(seed, physiology, BeatingHeart(shape, physiology))  # its seed also gives the body
    plan = plan_stack(
        earlier, rng, (float(now.anchor.spacing_mm[0]), float(now.anchor.spacing_mm[1])), covers_base=True
    )
    pose = _nearby(now.plan.ras_to_heart, rng)
    plan = replace(plan, ras_to_heart=pose, ijk_to_ras=np.linalg.inv(pose) @ plan.ras_to_heart @ plan.ijk_to_ras)
    times = np.arange(frames) / frames * physiology.rr_ms
    points = plan.heart_points()
    labels = np.stack([earlier.heart.label_at(points, float(time)) for time in times])
    record, _ = synthesise_ecg(physiology, rng)
    cycle = analyse_ecg(record)
    flat = SaxStack(labels[0].astype(np.float32), plan.ijk_to_ras)
    image = render_case(PhantomCase(earlier, plan, flat, labels[0], record, cycle), np.zeros(1))[0]
    return EvaluationCase(
        id=f"{subject.id} earlier", person=subject.person, facts={}, labels=labels[0], cycle=cycle, frames=frames,
        anchor=SaxStack(image.astype(np.float32), plan.ijk_to_ras), rr_ms=physiology.rr_ms, reference_labels=labels,
    )  # fmt: skip


def _nearby(ras_to_heart: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a pose a little beside another: the patient lies differently."""
    from scipy.spatial.transform import Rotation

    step = np.eye(4)
    step[:3, :3] = Rotation.from_rotvec(rng.normal(0.0, TURN_SD_RAD, 3)).as_matrix()
    step[:3, 3] = rng.normal(0.0, SHIFT_SD_MM, 3)
    return step @ ras_to_heart
