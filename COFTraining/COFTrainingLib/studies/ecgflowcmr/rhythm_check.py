"""How far the phase head's cycle boundaries lie from R: held-out phantom rhythms, and real records."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from COFGeneratorLib.ecg.beats import analyse_ecg
from COFGeneratorLib.ecg.readers import read_ecg
from COFGeneratorLib.ecg.record import EcgRecord
from COFGeneratorLib.ecgflowcmr.cycles import find_cycles
from COFGeneratorLib.ecgflowcmr.pa_mae import PaMae, prepare_record
from COFGeneratorLib.errors import EcgError

from COFTrainingLib.phantom.electrocardiogram import synthesise_ecg
from COFTrainingLib.phantom.physiology import draw_physiology

EDGE_MS = 350.0
"""R peaks this near the record's ends have no complete cycle on one side."""
MISSED_MS = 100.0
RHYTHMS: dict[str, dict[str, Any]] = {
    "sinus": {"atrial_fibrillation": False},
    "fibrillation": {"atrial_fibrillation": True},
    "ectopy": {},
}


def boundary_errors(pa_mae: PaMae, record: EcgRecord, r_ms: np.ndarray) -> dict[str, Any]:
    """Compare the boundaries of one record with its R peaks.

    Args:
        pa_mae: The encoder with its phase head.
        record: The record.
        r_ms: (n,) R peaks, ms.

    Returns:
        ``away_ms``: for each R away from the ends, how far the nearest boundary is, signed (inf where there is none);
        ``extra``: boundaries farther than ``MISSED_MS`` from any R.
    """
    import torch

    with torch.no_grad():
        _, phase = pa_mae.encode(torch.from_numpy(prepare_record(record))[None])
    try:
        found = find_cycles(phase[0].numpy()).r_ms
    except EcgError:
        found = np.empty(0)
    inner = r_ms[(r_ms > EDGE_MS) & (r_ms < 1000.0 * record.duration_s - EDGE_MS)]
    if len(found) == 0:
        return {"away_ms": np.full(len(inner), np.inf), "extra": 0}
    away = found[None] - inner[:, None]
    nearest = away[np.arange(len(inner)), np.abs(away).argmin(axis=1)] if len(inner) else np.empty(0)
    extra = int((np.abs(found[:, None] - r_ms[None]).min(axis=1) > MISSED_MS).sum())
    return {"away_ms": nearest, "extra": extra}


def phantom_boundaries(pa_mae: PaMae, records: int, seed: int) -> dict[str, dict[str, float]]:
    """Measure held-out phantom rhythms: sinus, atrial fibrillation, premature beats; ``records`` of each."""
    out = {}
    for number, (name, forced) in enumerate(RHYTHMS.items()):
        parts = []
        for index in range(records):
            rng = np.random.default_rng([seed, number, index])
            physiology = draw_physiology(rng, **forced)
            premature = 1.0 if name == "ectopy" else 0.0
            record, peaks = synthesise_ecg(physiology, rng, premature=premature)
            parts.append(boundary_errors(pa_mae, record, peaks * 1000.0 / record.fs_hz))
        out[name] = summary(parts)
    return out


def real_boundaries(pa_mae: PaMae, files: list[Path], told: Callable[[str], None]) -> dict[str, dict[str, float]]:
    """Measure real records against the product's R detector, refined on the average beat."""
    out = {}
    for path in files:
        try:
            record = read_ecg(path)
            peaks = analyse_ecg(record).r_peaks_s * 1000.0
        except EcgError as error:
            told(f"{path.name}: {error}")
            continue
        out[path.name] = summary([boundary_errors(pa_mae, record, peaks)])
    return out


def summary(parts: list[dict[str, Any]]) -> dict[str, float]:
    """Return counts and percentiles of several records' errors."""
    away = np.concatenate([part["away_ms"] for part in parts]) if parts else np.empty(0)
    near = np.abs(away[np.abs(away) <= MISSED_MS])
    return {
        "beats": len(away),
        "median_ms": float(np.median(near)) if len(near) else float("nan"),
        "bias_ms": float(np.median(away[np.abs(away) <= MISSED_MS])) if len(near) else float("nan"),
        "p95_ms": float(np.percentile(near, 95)) if len(near) else float("nan"),
        "within_20_ms": float(np.mean(np.abs(away) <= 20.0)) if len(away) else float("nan"),
        "missed": int((np.abs(away) > MISSED_MS).sum()),
        "extra": int(sum(part["extra"] for part in parts)),
    }
