"""Counterfactual questions: one anchor, another ECG. Does the motion change as the generator's physiology says?"""

from dataclasses import replace
from typing import Any

import numpy as np
from COFGeneratorLib.generator.bundle import Bundle
from COFGeneratorLib.generator.conditioned import Conditioned
from COFGeneratorLib.generator.settled import settled
from COFGeneratorLib.motion.fields import resize

from COFTrainingLib.phantom.cases import PhantomCase, draw_case
from COFTrainingLib.phantom.wall_regions import TERRITORIES
from COFTrainingLib.training.motion.trial import measure, move, prepared

FRAMES = 50
RATES_BPM = (50.0, 90.0)
EXTENT = 0.25
SECTOR_RAD = np.deg2rad(45.0)
PLAIN: dict[str, Any] = {"conduction": "", "qrsd_ms": 95.0, "atrial_fibrillation": False, "infarct_extent": 0.0}
"""Counterfactual pairs start from a heart without other findings."""


def heart_rate_shift(bundle: Bundle, subjects: int, seed: int) -> dict[str, float]:
    """Return how ES moves between an ECG at 50 and one at 90 bpm on the same anchor, frames of 50: found and true."""
    shifts, true_shifts = [], []
    for n in range(subjects):
        pair = [draw_case(seed + n, hr_bpm=rate, **PLAIN) for rate in RATES_BPM]
        anchor = pair[0]
        places = []
        for case in pair:
            ready = _on_anchor(bundle, anchor, case)
            velocity = bundle.model.velocities(ready.maps, ready.condition, image=ready.image)[0][0]
            native = move(bundle, anchor, ready, velocity, FRAMES, wanted_ef=ready.wanted_ef)
            report = measure(anchor, native, FRAMES, case.cycle.rr_ms, folded=False)
            places.append(report.es_time_ms * FRAMES / report.rr_ms)
        shifts.append(places[1] - places[0])
        true_shifts.append(_true_es_frame(pair[1]) - _true_es_frame(pair[0]))
    found, true = np.array(shifts), np.array(true_shifts)
    return {
        "hr_shift_found_frames": float(found.mean()),
        "hr_shift_true_frames": float(true.mean()),
        "hr_shift_error_frames": float(abs(found.mean() - true.mean())),
        "hr_shift_case_mae_frames": float(np.abs(found - true).mean()),
    }


def _true_es_frame(case: PhantomCase) -> float:
    report = case.true_function(FRAMES)
    return report.es_time_ms * FRAMES / report.rr_ms


def _on_anchor(bundle: Bundle, anchor: PhantomCase, ecg_of: PhantomCase) -> Conditioned:
    ready = prepared(bundle, anchor)
    model = bundle.model
    return replace(
        ready, condition=model.condition(ecg_of.cycle, "cpu"), ef=model.stated_ef(ecg_of.cycle, measures=ready.measures)
    )


def infarct_territories(bundle: Bundle, subjects: int, seed: int) -> dict[str, float]:
    """Return for each territory the share of anchors whose inward motion falls most in that territory's sector."""
    hits: dict[str, list[bool]] = {name: [] for name in TERRITORIES}
    drops = []
    for n in range(subjects):
        normal = draw_case(seed + n, **PLAIN)
        baseline = _sector_motion(bundle, normal, normal)
        for name in TERRITORIES:
            forced = {**PLAIN, "infarct_territory": name, "infarct_extent": EXTENT}
            sick = _sector_motion(bundle, normal, draw_case(seed + n, **forced))
            change = {sector: sick[sector] / max(baseline[sector], 1e-3) for sector in TERRITORIES}
            hits[name].append(min(change, key=change.__getitem__) == name)
            drops.append(1.0 - change[name])
    return {
        **{f"infarct_{name}_share": float(np.mean(values)) for name, values in hits.items()},
        "infarct_mean_drop": float(np.mean(drops)),
    }


def _sector_motion(bundle: Bundle, anchor: PhantomCase, ecg_of: PhantomCase) -> dict[str, float]:
    """Return the largest mean inward motion of the wall in every territory's sector, mm."""
    ready = _on_anchor(bundle, anchor, ecg_of)
    velocity = bundle.model.velocities(ready.maps, ready.condition, image=ready.image)[0][0]
    velocity = settled(bundle.model, velocity, ready, anchor.anchor, ready.wanted_ef, keep_wall=False)
    fine = ready.fine_grid
    # (T, 3, D, H, W): outward pull = inward motion
    pull = bundle.model.displacements_mm(velocity[None], ready.grid)[0].numpy()
    points = fine.points_mm()
    theta = np.arctan2(points[..., 1], points[..., 2])
    radial = pull[:, 1] * np.sin(theta) + pull[:, 2] * np.cos(theta)
    maps = resize(ready.maps, fine.shape)[0].clamp(0, 1).numpy()
    inner = maps[1] * (0.25 + maps[0])  # the wall next to the cavity
    motion = {}
    for name, (angle, _) in TERRITORIES.items():
        sector = inner * (np.abs(np.angle(np.exp(1j * (theta - angle)))) < SECTOR_RAD)
        motion[name] = float((radial * sector).sum(axis=(1, 2, 3)).max() / max(sector.sum(), 1e-6))
    return motion
