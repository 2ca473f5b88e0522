"""How the latents of a patient shape the electrical heart vector, and what varies between people without meaning.

The signs are the textbook ones: pathological Q, loss of R and ST–T change over an infarct's territory; bundle branch
block; voltage and strain in hypertrophy. Contractility has no single mark. It is spread over repolarisation (flat or
inverted T, wide QRS–T angle, ST depression), R progression and the left-atrial part of P, each blurred by variation of
its own, so that it can be read well only from all of them together.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from COFTrainingLib.phantom.heart_vector import (
    LEFT_ATRIAL_BACKWARD,
    Waves,
    fascicular_vector,
    late_right_vector,
    lbbb_qrs,
    normal_p,
    normal_qrs,
    normal_t,
    qrs_bounds_ms,
    rbbb_late_vector,
    t_end_ms,
)
from COFTrainingLib.phantom.lead_field import draw_rotation
from COFTrainingLib.phantom.physiology import Physiology

TOWARDS = {
    "anterior": np.array([0.30, -0.05, -0.95]),
    "inferior": np.array([0.05, 0.98, 0.15]),
    "lateral": np.array([0.90, -0.30, 0.32]),
}
"""Unit vectors from the middle of the ventricle to the three territories (X left, Y down, Z back)."""


VARIANT_SHARE = 0.06
"""How often each benign variant appears: fascicular block, rSr', early repolarisation, T inversion in V1–V3."""


@dataclass(frozen=True)
class Beat:
    """The waves of one sinus beat, R at 0 ms; ``p`` is None in atrial fibrillation."""

    p: Waves | None
    qrs: Waves
    t: Waves
    qrs_onset_ms: float
    qrs_offset_ms: float
    t_end_ms: float

    @property
    def ventricular(self) -> Waves:
        """QRS and T together."""
        return self.qrs.joined(self.t)


def compose_beat(physiology: Physiology, rng: np.random.Generator, variation: float = 1.0) -> Beat:
    """Build the beat of one patient; QRS duration, PR and QT come out as the latents say.

    Args:
        physiology: The patient.
        rng: Source of randomness, used only for what is independent of the latents.
        variation: Scale of the differences between people that carry no latent; 0 gives the textbook beat.
    """
    k = physiology.contractility
    turn = draw_rotation(rng, variation)
    habitus = np.exp(variation * 0.22 * rng.standard_normal())
    qrs = _depolarisation(physiology, rng, variation)
    t = _repolarisation(physiology, rng, variation)
    qrs, t = _hypertrophy(physiology, qrs, t, rng, variation)
    if physiology.infarct_territory:
        qrs, t = _infarct(physiology, qrs, t, rng, variation)

    onset, peak, offset = qrs_bounds_ms(qrs)
    factor = physiology.qrsd_ms / (offset - onset)
    qrs = qrs.retimed(factor, -peak * factor)
    onset, offset = (onset - peak) * factor, (offset - peak) * factor

    # The T group lies on a time of its own in which J is at 60 ms; the map keeps J at J and brings its end to QT.
    wanted = onset + physiology.qt_ms
    factor = (wanted - offset) / (t_end_ms(t) - 60.0)
    t = t.retimed(factor, offset - 60.0 * factor)

    p = None
    if not physiology.atrial_fibrillation:
        p = normal_p().jittered(rng, 0.20 * variation, 0.12 * variation, 3.0 * variation)
        backward = np.exp(0.55 * k + variation * 0.25 * rng.standard_normal())
        p.vector_mv[LEFT_ATRIAL_BACKWARD] *= min(backward, 4.0)
        p = p.retimed(1.0, onset - physiology.pr_ms)
    move = habitus * turn
    return Beat(p and p.rotated(move), qrs.rotated(move), t.rotated(move), onset, offset, wanted)


def _depolarisation(physiology: Physiology, rng: np.random.Generator, variation: float) -> Waves:
    """QRS before rotation: conduction, R progression by contractility, and a person's own shape."""
    qrs = lbbb_qrs() if physiology.conduction == "lbbb" else normal_qrs()
    qrs = qrs.jittered(rng, 0.20 * variation, 0.12 * variation, 2.0 * variation)
    # A person's own loop: small extra vectors anywhere within QRS, among them notches and slurs.
    extra = rng.standard_normal((3, 6))
    qrs = qrs.joined(
        Waves(
            0.08 * variation * extra[:, :3],
            4.0 + 17.0 * extra[:, 3],
            7.0 * np.exp(0.3 * extra[:, 4]),
            7.0 * np.exp(0.3 * extra[:, 5]),
        )
    )
    forward = qrs.vector_mv[:, 2] < 0
    qrs.vector_mv[forward, 2] *= np.exp(-0.35 * physiology.contractility)
    fascicular, right = rng.random(2) < VARIANT_SHARE * variation
    if fascicular and physiology.conduction != "lbbb":
        qrs = qrs.joined(fascicular_vector().jittered(rng, 0.3, 0.15, 3.0))
    if right and not physiology.conduction:
        qrs = qrs.joined(late_right_vector().jittered(rng, 0.3, 0.15, 3.0))
    if physiology.conduction == "rbbb":
        late = rbbb_late_vector().jittered(rng, 0.25 * variation, 0.15 * variation, 3.0 * variation)
        qrs = qrs.joined(late)
    return qrs


def _repolarisation(physiology: Physiology, rng: np.random.Generator, variation: float) -> Waves:
    """ST and T before rotation, J at 60 ms on the group's own clock."""
    k = physiology.contractility
    size = np.exp(variation * 0.25 * rng.standard_normal())
    angle = Rotation.from_rotvec(np.deg2rad(13.0 * variation * rng.standard_normal(3))).as_matrix()
    t = normal_t().jittered(rng, 0.15 * variation, 0.18 * variation, 6.0 * variation)
    away = np.array([-0.13, -0.035, 0.055]) * k
    t.vector_mv[:3] *= 1.0 - 0.28 * k
    t.vector_mv[0] += away
    if physiology.conduction == "lbbb":
        t.vector_mv[:3] -= np.diag([0.50, 0.18, 0.12])
        t.vector_mv[3] += np.array([-0.08, -0.03, -0.08])
    elif physiology.conduction == "rbbb":
        t.vector_mv[2] += np.array([0.06, 0.0, 0.16])
    t.vector_mv *= size
    early, juvenile = rng.random(2) < VARIANT_SHARE * variation
    if juvenile and not physiology.conduction:
        t.vector_mv[2] += np.array([-0.05, 0.0, 0.28]) * rng.uniform(0.6, 1.2)
    # ST: the level at J and its drift to the T wave; young men lift it in front, weak hearts depress it at the side.
    level = variation * np.array([0.020, 0.015, -0.030]) * rng.standard_normal(3)
    level += np.array([-0.035, -0.015, 0.010]) * k
    if early:
        level += np.array([0.06, 0.05, -0.06]) * rng.uniform(0.5, 1.3)
    st = Waves.of([(*level, 95.0, 28.0, 70.0)])
    return t.joined(st).rotated(angle)


def _hypertrophy(
    physiology: Physiology, qrs: Waves, t: Waves, rng: np.random.Generator, variation: float
) -> tuple[Waves, Waves]:
    """Voltage grows weakly with LV mass; some hypertrophic hearts show strain."""
    gain = 0.92 * (1.0 + 0.45 * (physiology.lv_mass_index - 48.0) / 48.0)
    gain *= np.exp(0.15 * variation * rng.standard_normal())  # QRS and T vary each on their own
    strain = rng.random() < 0.3
    qrs = Waves(qrs.vector_mv * gain, qrs.centre_ms, qrs.rise_ms, qrs.fall_ms)
    if physiology.hypertrophy and strain:
        depth = 0.16 * np.exp(0.3 * variation * rng.standard_normal())
        t = t.joined(
            Waves.of([(-depth, -0.3 * depth, 0.4 * depth, 130, 40, 60), (-2 * depth, -0.6 * depth, 0, 268, 40, 22)])
        )
    return qrs, t


def _infarct(
    physiology: Physiology, qrs: Waves, t: Waves, rng: np.random.Generator, variation: float
) -> tuple[Waves, Waves]:
    """Q, lost R and ST–T over the territory, graded by extent.

    The age of the infarct, from fresh (ST elevation) to old (Q with a shallow inverted T), carries no latent.
    """
    extent = physiology.infarct_extent
    towards = TOWARDS[physiology.infarct_territory]
    wander = Rotation.from_rotvec(np.deg2rad(15.0 * variation * rng.standard_normal(3))).as_matrix()
    towards = wander @ (towards / np.linalg.norm(towards))
    fresh = rng.random()
    blur = np.exp(0.16 * variation * rng.standard_normal(4))
    # In the first hours ST tells more than Q.
    written = 1.0 - 0.45 * max(2.0 * fresh - 1.0, 0.0) * min(variation, 1.0)

    ahead = qrs.vector_mv @ towards
    lost = min(2.4 * extent * written * blur[0], 0.95) * np.maximum(ahead, 0.0)
    vector = qrs.vector_mv - lost[:, None] * towards
    depth = (0.14 + 2.6 * extent) * written * blur[1]
    width = 7.0 + 16.0 * extent
    centre = -24.0 + 18.0 * extent + 2.0 * variation * rng.standard_normal()
    q = Waves.of([(*(-depth * towards), centre, width * 0.9, width)])
    qrs = Waves(vector, qrs.centre_ms, qrs.rise_ms, qrs.fall_ms).joined(q)

    raised = fresh * (0.05 + 1.1 * extent) * blur[2]
    inverted = (1.0 - 0.75 * fresh) * (0.12 + 1.5 * extent) * blur[3]
    change = Waves.of([(*(raised * towards), 110.0, 40.0, 75.0), (*(-inverted * towards), 258.0, 45.0, 34.0)])
    return qrs, t.joined(change)
