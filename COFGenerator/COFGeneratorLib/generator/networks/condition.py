"""What motion is conditioned on: one vector a subject – what the ECG is read to say, what is stated – and its clock."""

from dataclasses import dataclass

import numpy as np
import torch

from COFGeneratorLib.ecg.cycle import SCALAR_NAMES, EcgCycle
from COFGeneratorLib.errors import BundleError
from COFGeneratorLib.generator.networks.ecg_encoder import (
    CONDUCTIONS,
    READING_UNITS,
    SCALAR_CENTRE,
    SCALAR_LIMIT,
    SCALAR_SCALE,
    TERRITORIES,
    EcgEncoder,
    SingleBeats,
    encoder_inputs,
    single_beats,
)
from COFGeneratorLib.motion.constants import constant

READING_SIZE = len(READING_UNITS) + len(TERRITORIES) + len(CONDUCTIONS)
STATED_UNITS = {"ef": (0.55, 0.12), "rv_ef": (0.52, 0.10), "t_es_over_rr": (0.38, 0.045)}
"""Centre and scale of what can be stated in place of an ECG's reading, or beside it: fractions, and ES as a phase."""
STATED_SIZE = 2 * len(STATED_UNITS)
CONDITION_SIZE = READING_SIZE + len(SCALAR_NAMES) + 1 + STATED_SIZE
"""The encoder's reading of the heart's state, the measured scalars, a flag that is 1 where an ECG is given; then what
is stated, and a flag for each of these."""
HARMONICS = 5
CLOCK_SIZE = 4 * HARMONICS + 1
EARLIEST_ES, LATEST_ES = 0.15, 0.7


@dataclass(frozen=True)
class Stated:
    """What a user, or a record of the heart itself, knows of it; None where it is not known.

    Attributes:
        ef_percent: Ejection fraction of the left ventricle.
        rvef_percent: Ejection fraction of the right ventricle.
        es_ms: Time of end-systole from the R wave.
        hr_bpm: Heart rate of the cine.
    """

    ef_percent: float | None = None
    rvef_percent: float | None = None
    es_ms: float | None = None
    hr_bpm: float | None = None

    def __post_init__(self) -> None:
        limits = {"ef_percent": (5.0, 85.0), "rvef_percent": (5.0, 85.0), "es_ms": (100.0, 700.0)}
        for name, (low, high) in {**limits, "hr_bpm": (25.0, 250.0)}.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise BundleError(f"{name} is between {low:g} and {high:g}; found {value:g}. Correct it.")

    @property
    def anything(self) -> bool:
        """Whether anything is stated."""
        return self != Stated()

    def values(self, rr_ms: float | None) -> torch.Tensor:
        """Return (1, 3) in the order of ``STATED_UNITS``, NaN where not stated; ``rr_ms`` makes a phase of ES."""
        es = None if self.es_ms is None or rr_ms is None else self.es_ms / rr_ms
        shares = [None if value is None else value / 100.0 for value in (self.ef_percent, self.rvef_percent)]
        return torch.tensor([[float("nan") if value is None else value for value in (*shares, es)]])


def condition_vector(
    encoder: EcgEncoder, beat_mv: torch.Tensor, scalars: torch.Tensor, single: SingleBeats | None = None
) -> torch.Tensor:
    """Return the condition (B, CONDITION_SIZE) of beats (B, 12, 256) mV and raw scalars (B, 12).

    The encoder's *reading* (ejection fraction, infarct territory and extent, conduction, timing, filling) conditions
    the motion, not its raw embedding: what the ECG is taken to say can be looked at, and an unusual recording cannot
    push the motion network off its training distribution in directions nobody can name.
    """
    reading = encoder.latents(encoder(beat_mv, scalars, single)[0])
    values = [(getattr(reading, name) - centre) / scale for name, (centre, scale) in READING_UNITS.items()]
    probabilities = [reading.territory_logits.softmax(1), reading.conduction_logits.softmax(1)]
    said = torch.cat([torch.stack(values, dim=1), *probabilities], dim=1)
    measured = _measured(scalars)
    heard = torch.cat([said.clamp(-6, 6), measured, torch.ones_like(measured[:, :1])], dim=1)
    return torch.cat([heard, heard.new_zeros(len(heard), STATED_SIZE)], dim=1)


def _measured(scalars: torch.Tensor) -> torch.Tensor:
    """Return raw scalars (B, 12) in the units of the condition."""
    centre, scale = (
        constant(tuple(values), torch.float32, scalars.device).to(scalars.dtype)
        for values in (SCALAR_CENTRE, SCALAR_SCALE)
    )
    return ((scalars - centre) / scale).clamp(-SCALAR_LIMIT, SCALAR_LIMIT)


def with_measured(condition: torch.Tensor, cycle: EcgCycle) -> torch.Tensor:
    """Return a condition (1, CONDITION_SIZE) with the measurements of another cycle in place of its own."""
    scalars = torch.from_numpy(cycle.scalars())[None].to(condition)
    end = READING_SIZE + len(SCALAR_NAMES)
    return torch.cat([condition[:, :READING_SIZE], _measured(scalars), condition[:, end:]], dim=1)


def null_condition(condition: torch.Tensor) -> torch.Tensor:
    """Return the condition of "no ECG, nothing stated": all zeros, the flags included."""
    return torch.zeros_like(condition)


def without_regions(condition: torch.Tensor) -> torch.Tensor:
    """Return conditions (B, CONDITION_SIZE) of the same hearts without infarct and conducted as usual.

    What else the ECG is read to say stays; a condition without an ECG stays as it is.
    """
    extent = list(READING_UNITS).index("infarct_extent")
    centre, scale = READING_UNITS["infarct_extent"]
    usual = condition.clone()
    usual[:, extent] = -centre / scale
    usual[:, len(READING_UNITS) : READING_SIZE] = 0.0
    usual[:, [len(READING_UNITS), READING_SIZE - len(CONDUCTIONS)]] = 1.0  # neither territory nor block
    given = condition[:, READING_SIZE + len(SCALAR_NAMES), None] > 0.5
    return torch.where(given, usual, condition)


def with_stated(condition: torch.Tensor, stated: torch.Tensor) -> torch.Tensor:
    """Return conditions (B, CONDITION_SIZE) to which ``stated`` (B, 3), NaN where unknown, is told.

    The columns are those of ``STATED_UNITS``. What is stated is told beside what the ECG is read to say, never in its
    place: where the two disagree the network sees both, and learns which to believe.
    """
    stated = stated.to(condition)
    centre, scale = (
        constant(tuple(values), torch.float32, condition.device).to(condition.dtype)
        for values in zip(*STATED_UNITS.values(), strict=True)
    )
    known = ~torch.isnan(stated)
    values = torch.where(known, (stated - centre) / scale, torch.zeros_like(stated)).clamp(-6, 6)
    return torch.cat([condition[:, :-STATED_SIZE], values, known.to(condition)], dim=1)


def end_systolic_phase(condition: torch.Tensor) -> torch.Tensor:
    """Return where systole ends, (B,) phase 0…1: as stated, else as read from the ECG, else the population's mean."""
    name = "t_es_over_rr"
    place, (centre, scale) = list(READING_UNITS).index(name), READING_UNITS[name]
    read = centre + scale * condition[:, place]
    place, (centre, scale) = list(STATED_UNITS).index(name), STATED_UNITS[name]
    told = condition[:, -STATED_SIZE:]
    stated = centre + scale * told[:, place]
    return torch.where(told[:, len(STATED_UNITS) + place] > 0.5, stated, read).clamp(EARLIEST_ES, LATEST_ES)


def physiological_phase(ends: torch.Tensor, phases: torch.Tensor) -> torch.Tensor:
    """Return phases (B, T) warped so that end-systole lies at one half, monotone: PCHIP through three knots.

    The interpolant of Fritsch & Butland through (0, 0), (end, ½), (1, 1), as SciPy's ``PchipInterpolator`` has it, in
    closed form and on the device of its inputs.

    Args:
        ends: (B,) where systole ends, within 0…1.
        phases: (B, T) phases 0…1.
    """
    first, last = ends[:, None], 1.0 - ends[:, None]
    rise, fall = 0.5 / first, 0.5 / last
    middle = 3.0 / ((2.0 * last + first) / rise + (last + 2.0 * first) / fall)
    middle = middle * (first + last)
    left = _edge_slope(first, last, rise, fall)
    right = _edge_slope(last, first, fall, rise)
    early = phases < first
    width = torch.where(early, first, last)
    start, slope_0, slope_1 = (
        torch.where(early, a, b) for a, b in ((0.0 * first, 0.0 * first + 0.5), (left, middle), (middle, right))
    )
    x = torch.where(early, phases, phases - first) / width
    end = start + 0.5
    return (
        start * (2 * x**3 - 3 * x**2 + 1)
        + slope_0 * width * (x**3 - 2 * x**2 + x)
        + end * (3 * x**2 - 2 * x**3)
        + slope_1 * width * (x**3 - x**2)
    )


def _edge_slope(near: torch.Tensor, far: torch.Tensor, slope: torch.Tensor, beyond: torch.Tensor) -> torch.Tensor:
    """Return PCHIP's one-sided slope at an end: three points, never against the data (both slopes are positive)."""
    return (((2 * near + far) * slope - near * beyond) / (near + far)).clamp(min=0.0)


def clock_features(condition: torch.Tensor, phases: torch.Tensor) -> torch.Tensor:
    """Return features of time for every phase, (B, T, CLOCK_SIZE).

    Harmonics of the plain phase and of the *physiological* phase, a monotone warp that puts the end of systole at
    one half, so that systole and diastole keep their place whatever the heart rate.

    Args:
        condition: (B, CONDITION_SIZE).
        phases: (T,) phases 0…1, or (B, T) where every subject has its own.
    """
    plain = phases.to(condition).expand(len(condition), -1)
    warped = physiological_phase(end_systolic_phase(condition), plain)
    order = torch.arange(1, HARMONICS + 1, device=condition.device, dtype=condition.dtype)
    waves = [f(2 * np.pi * phase[..., None] * order) for phase in (plain, warped) for f in (torch.sin, torch.cos)]
    return torch.cat([*waves, warped[..., None]], dim=-1)


def anchor_features(condition: torch.Tensor, anchor: torch.Tensor) -> torch.Tensor:
    """Return what tells when an anchor was taken, (B, CLOCK_SIZE): its clock less that of the R wave, there zero.

    Args:
        condition: (B, CONDITION_SIZE).
        anchor: (B,) phases 0…1.
    """
    clock = clock_features(condition, torch.stack([torch.zeros_like(anchor), anchor], dim=1))
    return clock[:, 1] - clock[:, 0]


def cycle_condition(encoder: EcgEncoder, cycle: EcgCycle, device: torch.device) -> torch.Tensor:
    """Return the condition of one analysed ECG, (1, CONDITION_SIZE)."""
    single = single_beats([cycle], encoder.config.beats, device) if encoder.config.beats else None
    return condition_vector(encoder, *encoder_inputs(cycle, device), single)
