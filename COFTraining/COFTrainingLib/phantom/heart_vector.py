"""The electrical heart vector of one beat as a sum of Gaussian waves, in three groups: P, QRS and T.

The normal QRS starts from the dipole model of Sameni et al. (EURASIP J Adv Signal Process 2007:43407) with its phases
turned into milliseconds, because depolarisation does not stretch with the R–R interval (only the iso-electric pause
does), and with stronger posterior forces, so that V2 and V3 have the S waves of an adult. P and T are given by their
usual vectors. Vectors are (X left, Y down, Z back) in mV.
"""

from dataclasses import dataclass

import numpy as np


@dataclass
class Waves:
    """A sum of n asymmetric Gaussians with vector amplitudes.

    Args:
        vector_mv: (n, 3) amplitudes.
        centre_ms: (n,) peak times.
        rise_ms: (n,) SD of the rising flank.
        fall_ms: (n,) SD of the falling flank.
    """

    vector_mv: np.ndarray
    centre_ms: np.ndarray
    rise_ms: np.ndarray
    fall_ms: np.ndarray

    @classmethod
    def of(cls, rows: list[tuple[float, ...]]) -> "Waves":
        """Build from rows (x, y, z, centre, rise, fall)."""
        table = np.array(rows, dtype=np.float64).reshape(-1, 6)
        return cls(table[:, :3].copy(), table[:, 3].copy(), table[:, 4].copy(), table[:, 5].copy())

    def sample(self, time_ms: np.ndarray) -> np.ndarray:
        """Return the heart vector at the given times, (3, T) mV."""
        offset = time_ms[None] - self.centre_ms[:, None]
        width = np.where(offset < 0, self.rise_ms[:, None], self.fall_ms[:, None])
        return self.vector_mv.T @ np.exp(-0.5 * (offset / width) ** 2)

    def joined(self, other: "Waves") -> "Waves":
        """Return both sums as one."""
        return Waves(
            *(
                np.concatenate([getattr(self, name), getattr(other, name)])
                for name in ("vector_mv", "centre_ms", "rise_ms", "fall_ms")
            )
        )

    def retimed(self, factor: float, shift_ms: float = 0.0) -> "Waves":
        """Return the waves with time scaled about 0 and then shifted."""
        return Waves(self.vector_mv, self.centre_ms * factor + shift_ms, self.rise_ms * factor, self.fall_ms * factor)

    def rotated(self, matrix: np.ndarray) -> "Waves":
        """Return the waves with every vector turned by a (3, 3) matrix."""
        return Waves(self.vector_mv @ matrix.T, self.centre_ms, self.rise_ms, self.fall_ms)

    def jittered(self, rng: np.random.Generator, amplitude: float, width: float, shift_ms: float) -> "Waves":
        """Return the waves with each varied on its own, a person's shape: SD of amplitude, log width and shift."""
        n = len(self.centre_ms)
        return Waves(
            self.vector_mv * (1.0 + amplitude * rng.standard_normal((n, 1))),
            self.centre_ms + shift_ms * rng.standard_normal(n),
            self.rise_ms * np.exp(width * rng.standard_normal(n)),
            self.fall_ms * np.exp(width * rng.standard_normal(n)),
        )


def _sameni(rows: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
    """Rows (x, y, z, phase, width in rad) to rows in ms at a cycle of 1 s."""
    scale = 1000.0 / (2.0 * np.pi)
    return [(x, y, z, phase * scale, width * scale, width * scale) for x, y, z, phase, width in rows]


def normal_qrs() -> Waves:
    """Return the normal depolarisation, R near 0 ms."""
    return Waves.of(
        _sameni(
            [
                (-0.09, 0, 0, -0.19, 0.0453),
                (0.85, 0, 0, -0.07, 0.0378),
                (1.11, 0, 0, 0.00, 0.0332),
                (0.42, 0, 0, 0.06, 0.0302),
                (0.06, 0, 0, 0.22, 0.0378),
                (0, 0.32, 0, -0.11, 0.055),
                (0, 0.58, 0, -0.01, 0.037),
                (0, -0.16, 0, 0.065, 0.0604),
                (0, 0, -0.22, -0.15, 0.045),
                (0, 0, 0.80, 0.085, 0.05),
            ]
        )
    )


def lbbb_qrs() -> Waves:
    """Return left bundle branch block: no septal q, then a slow, notched vector to the left and back."""
    return Waves.of(
        [
            (0.35, 0.10, -0.12, -42, 10, 10),
            (0.75, 0.25, 0.30, -18, 13, 13),
            (0.55, 0.10, 0.75, 6, 14, 14),
            (0.80, 0.05, 0.45, 32, 12, 12),
            (0.15, -0.05, 0.10, 54, 9, 8),
        ]
    )


def rbbb_late_vector() -> Waves:
    """Return the late vector to the right and front that right bundle branch block adds."""
    return Waves.of([(-0.55, -0.05, -0.50, 38, 12, 12), (-0.32, 0.05, -0.34, 58, 10, 9)])


def paced_qrs(apical: bool) -> Waves:
    """Return a paced ventricle: slow, notched, to the left and back; upwards from the apex, down from the outflow."""
    y = -1.0 if apical else 1.0
    return Waves.of(
        [
            (0.20, 0.30 * y, -0.10, -50, 11, 11),
            (0.45, 0.75 * y, 0.35, -20, 14, 14),
            (0.40, 0.80 * y, 0.75, 8, 15, 15),
            (0.45, 0.45 * y, 0.50, 36, 13, 13),
            (0.15, 0.10 * y, 0.15, 60, 10, 9),
        ]
    )


def right_ventricular_vector() -> Waves:
    """Return what a heavy right ventricle adds: to the right and front, when the left is nearly done."""
    return Waves.of([(-0.30, 0.12, -0.55, 8, 13, 12), (-0.55, 0.15, -0.40, 26, 12, 12)])


def septal_q_vector() -> Waves:
    """Return the deep, narrow q of a thick septum: first to the right, up and front."""
    return Waves.of([(-0.38, -0.22, -0.25, -26, 6, 6)])


def fascicular_vector() -> Waves:
    """Return what left anterior fascicular block adds: first down and to the right, then up and to the left."""
    return Waves.of([(-0.06, 0.25, -0.05, -22, 7, 7), (0.10, -0.85, 0.08, 11, 13, 13)])


def late_right_vector() -> Waves:
    """Return the small late vector behind an rSr' in V1 with a narrow QRS (incomplete right bundle branch block)."""
    return Waves.of([(-0.22, -0.02, -0.24, 34, 8, 8)])


def normal_t() -> Waves:
    """Return the normal repolarisation: T peak at 250 ms, a slow rise from J and a faster fall."""
    return Waves.of(
        [
            (0.36, 0, 0, 255, 52, 36),
            (0, 0.18, 0, 258, 52, 36),
            (0, 0, -0.20, 246, 55, 40),
            (0.05, 0.03, -0.06, 150, 60, 60),
        ]
    )


def normal_p() -> Waves:
    """Return right and left atrial activation; time counts from P onset."""
    return Waves.of(
        [(0.045, 0.090, -0.055, 28, 14, 15), (0.060, 0.045, 0.000, 62, 15, 14), (0.000, 0.000, 0.045, 70, 13, 12)]
    )


RIGHT_ATRIAL, LEFT_ATRIAL_BACKWARD = 0, 2
"""Rows of ``normal_p``: the peaked first part, and the one that makes the terminal negative P in V1."""


def qrs_bounds_ms(qrs: Waves, threshold: float = 0.022) -> tuple[float, float, float]:
    """Return onset, peak of the vector's length and offset of a QRS group, ms.

    Onset and offset are where the speed of the vector first and last exceeds a fraction of its greatest.
    """
    time = np.arange(-140.0, 181.0, 1.0)
    vector = qrs.sample(time)
    speed = np.linalg.norm(np.gradient(vector, axis=1), axis=0)
    active = np.flatnonzero(speed > threshold * speed.max())
    return time[active[0]], time[int(np.argmax((vector**2).sum(0)))], time[active[-1]]


def t_end_ms(waves: Waves) -> float:
    """Return the end of the T group as recorders mark it, ms.

    The corner where the falling flank meets the baseline lies beyond the crossing of its steepest tangent, for a
    Gaussian flank by 0.6 of the way from the steepest point to the crossing.
    """
    time = np.arange(0.0, 701.0, 2.0)
    length = np.linalg.norm(waves.sample(time), axis=0)
    slope = np.gradient(length, 2.0)
    peak = int(np.argmax(length))
    last = peak + int(np.argmin(slope[peak:]))
    return time[last] - 1.6 * length[last] / min(slope[last], -1e-9)
