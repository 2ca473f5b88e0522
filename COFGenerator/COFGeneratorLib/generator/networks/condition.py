"""What the ECG tells the motion networks: one vector a subject, and the clock of its cycle."""

import numpy as np
import torch
from scipy.interpolate import PchipInterpolator

from COFGeneratorLib.ecg.cycle import SCALAR_NAMES, EcgCycle
from COFGeneratorLib.generator.networks.ecg_encoder import (
    READING_UNITS,
    SCALAR_CENTRE,
    SCALAR_LIMIT,
    SCALAR_SCALE,
    EcgEncoder,
    encoder_inputs,
)

READING_SIZE = len(READING_UNITS) + 4 + 3
CONDITION_SIZE = READING_SIZE + len(SCALAR_NAMES) + 1
"""The encoder's reading of the heart's state, the measured scalars, and a flag that is 1 where an ECG is given."""
HARMONICS = 5
CLOCK_SIZE = 4 * HARMONICS + 1


def condition_vector(encoder: EcgEncoder, beat_mv: torch.Tensor, scalars: torch.Tensor) -> torch.Tensor:
    """Return the condition (B, CONDITION_SIZE) of beats (B, 12, 256) mV and raw scalars (B, 12).

    The encoder's *reading* (ejection fraction, infarct territory and extent, conduction, timing, filling) conditions
    the motion, not its raw embedding: what the ECG is taken to say can be looked at, and an unusual recording cannot
    push the motion network off its training distribution in directions nobody can name.
    """
    reading = encoder.latents(encoder(beat_mv, scalars)[0])
    values = [(getattr(reading, name) - centre) / scale for name, (centre, scale) in READING_UNITS.items()]
    probabilities = [reading.territory_logits.softmax(1), reading.conduction_logits.softmax(1)]
    said = torch.cat([torch.stack(values, dim=1), *probabilities], dim=1)
    centre, scale = torch.tensor(SCALAR_CENTRE).to(scalars), torch.tensor(SCALAR_SCALE).to(scalars)
    measured = ((scalars - centre) / scale).clamp(-SCALAR_LIMIT, SCALAR_LIMIT)
    return torch.cat([said.clamp(-6, 6), measured, torch.ones_like(measured[:, :1])], dim=1)


def null_condition(condition: torch.Tensor) -> torch.Tensor:
    """Return the condition of "no ECG": all zeros, the flag included."""
    return torch.zeros_like(condition)


def end_systolic_phase(condition: torch.Tensor) -> torch.Tensor:
    """Return where systole ends as read from the ECG, (B,) phase 0…1; the population's mean without an ECG."""
    centre, scale = READING_UNITS["t_es_over_rr"]
    return (centre + scale * condition[:, list(READING_UNITS).index("t_es_over_rr")]).clamp(0.15, 0.7)


def clock_features(condition: torch.Tensor, phases: torch.Tensor) -> torch.Tensor:
    """Return features of time for every phase, (B, T, CLOCK_SIZE).

    Harmonics of the plain phase and of the *physiological* phase, a monotone warp that puts the end of systole at
    one half, so that systole and diastole keep their place whatever the heart rate.

    Args:
        condition: (B, CONDITION_SIZE).
        phases: (T,) phases 0…1, or (B, T) where every subject has its own.
    """
    ends = end_systolic_phase(condition).detach().cpu().numpy()
    plain = np.broadcast_to(phases.detach().cpu().numpy(), (len(ends), phases.shape[-1]))
    courses = [PchipInterpolator([0.0, end, 1.0], [0.0, 0.5, 1.0]) for end in ends]
    warped = np.stack([course(own) for course, own in zip(courses, plain, strict=True)])
    warped = torch.as_tensor(warped, dtype=condition.dtype, device=condition.device)
    order = torch.arange(1, HARMONICS + 1, device=condition.device, dtype=condition.dtype)
    both = [phases.to(condition)[..., None].expand_as(warped[..., None]), warped[..., None]]
    waves = [f(2 * np.pi * phase * order) for phase in both for f in (torch.sin, torch.cos)]
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
    return condition_vector(encoder, *encoder_inputs(cycle, device))
