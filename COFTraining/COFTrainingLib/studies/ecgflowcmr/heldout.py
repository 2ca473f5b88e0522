"""ECGFlowCMR on held-out phantoms: does the cine follow the ECG? Own ECG beside shuffled, none, and trivial arms."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from COFGeneratorLib.ecg.record import EcgRecord
from COFGeneratorLib.ecgflowcmr.read_outs import PlaneReport, measure_plane
from COFGeneratorLib.ecgflowcmr.transformer import RATE_SCALARS
from COFGeneratorLib.errors import EcgError, FunctionError
from COFGeneratorLib.generator.bundle import Bundle

from COFTrainingLib.evaluation.statistics import as_number, correlation_interval, sign_test
from COFTrainingLib.phantom.physiology import Physiology
from COFTrainingLib.phantom.planes import render_plane
from COFTrainingLib.phantom.prevalence import ENRICHED
from COFTrainingLib.phantom.subject import draw_subject
from COFTrainingLib.training.ecgflowcmr.data import phantom_ecg

FRAMES = 50
"""End-systole is told in frames of 50, as in the papers, whatever the model's own number."""
WEAK_EF = 0.50
DRAWS = 4
BATCH = 8
ARMS = ("own ECG", "own ECG, mean of 4", "shuffled ECG", "no ECG", "template", "mean motion", "random clip")


@dataclass(frozen=True)
class HeldOutCase:
    """One held-out phantom: its ECG, and what its own cine says by the true labels."""

    physiology: Physiology
    record: EcgRecord
    clip: np.ndarray
    truth: PlaneReport


def draw_held_out(seed: int, bundle: Bundle, body: int, **overrides: Any) -> HeldOutCase:
    """Draw one held-out phantom; overrides force fields of its physiology and leave its anatomy alone."""
    grid = bundle.model.grid
    subject = draw_subject(seed, ENRICHED, **overrides)
    *_, record, _ = phantom_ecg(subject.physiology, np.random.default_rng([seed, 9]), fs_hz=500.0)
    clip, labels = render_plane(subject, grid, body)
    areas = np.stack([(labels == code).sum(axis=(1, 2)) for code in (1, 2, 3)], axis=1)
    return HeldOutCase(
        subject.physiology, record, clip, measure_plane(areas, grid.pixel_mm, subject.physiology.rr_ms, grid.plane)
    )


def fac_and_es(bundle: Bundle, cine: torch.Tensor, rr_ms: float) -> tuple[float, float]:
    """Return (FAC percent, end-systole as a share of R–R) of one cine (T, H, W); NaN where there is nothing to see."""
    _, areas = bundle.segmenter.segment(cine[None])
    try:
        report = measure_plane(areas[0], bundle.model.grid.pixel_mm, rr_ms, bundle.model.grid.plane)
    except FunctionError:
        return float("nan"), float("nan")
    return report.fac_percent, report.es_time_ms / rr_ms


def read_all(bundle: Bundle, cines: Sequence[torch.Tensor], cases: Sequence[HeldOutCase]) -> np.ndarray:
    """Return FAC and end-systole of one cine a case, (N, 2)."""
    return np.array([fac_and_es(bundle, cine, case.truth.rr_ms) for cine, case in zip(cines, cases, strict=True)])


def truth_of(cases: Sequence[HeldOutCase]) -> np.ndarray:
    """Return true FAC and end-systole, (N, 2)."""
    return np.array([(case.truth.fac_percent, case.truth.es_time_ms / case.truth.rr_ms) for case in cases])


def run_heldout(
    bundle: Bundle, subjects: int, seed: int, body: int, train_clips: torch.Tensor, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measure every arm.

    Args:
        bundle: Model with segmenter.
        subjects: Held-out phantoms.
        seed: Of the first.
        body: Body and scan of the training phantoms, see ``DataSettings``.
        train_clips: (M, T, H, W) uint8 training clips, for the arms that look at no ECG.
        say: Told how far it is.

    Returns:
        ``arms``: errors and correlations by arm; ``own_against_shuffled``: wins and losses; ``reading``: what the
        phenotype head says of EF, or None; ``subject_values``: what was measured of each; ``seconds_per_clip``.
    """
    model, rng = bundle.model, np.random.default_rng([seed, 3])
    cases, parts_read = [], []
    for index in range(subjects):
        case = draw_held_out(seed + index, bundle, body)
        try:
            parts = model.read([case.record])
        except EcgError:
            say(f"phantom {seed + index}: no complete cycle found; left out")
            continue
        cases.append(case)
        parts_read.append(parts)
    tokens, scalars = (torch.cat([parts[place] for parts in parts_read]) for place in (0, 1))
    count = len(cases)
    say(f"{count} phantoms read")
    other = np.roll(np.arange(count), 1 + int(rng.integers(count - 2)))  # nobody keeps their own
    begin = time.perf_counter()
    own = cines_of(bundle, tokens, scalars, seed=1)
    seconds = (time.perf_counter() - begin) / count
    say("own ECG done")
    shuffled = cines_of(bundle, tokens[other], scalars[other], seed=1)
    free = cines_of(bundle, torch.zeros_like(tokens), torch.zeros_like(scalars), seed=1)
    say("shuffled and none done")
    mean_clip = train_clips.float().mean(dim=0) / 255.0
    with torch.no_grad():
        still = model.decode(model.template.expand(-1, -1, model.grid.frames, -1, -1))[0]
    found = {
        "own ECG": own,
        "shuffled ECG": shuffled,
        "no ECG": free,
        "template": [still] * count,
        "mean motion": [mean_clip] * count,
        "random clip": [train_clips[int(rng.integers(len(train_clips)))].float() / 255.0 for _ in range(count)],
    }
    values = {arm: read_all(bundle, cines, cases) for arm, cines in found.items()}
    draws = [values["own ECG"]]
    for draw in range(1, DRAWS):
        draws.append(read_all(bundle, cines_of(bundle, tokens, scalars, seed=1 + draw), cases))
    values["own ECG, mean of 4"] = np.nanmean(draws, axis=0)
    say("draws done")
    truth = truth_of(cases)
    ef = np.array([case.physiology.ef for case in cases])
    real = read_all(bundle, [torch.from_numpy(case.clip).float() / 255.0 for case in cases], cases)
    arms = {"real clip, same read-out": arm_row(real, truth, ef)}
    arms |= {arm: arm_row(values[arm], truth, ef) for arm in ARMS}
    pairs = pair_tests(values["own ECG"], values["shuffled ECG"], truth)
    return {
        "arms": arms,
        "own_against_shuffled": pairs,
        "reading": reading_row(_told_ef(bundle, scalars), ef),
        "seconds_per_clip": seconds,
        "subject_values": {
            "ef": ef.tolist(), "true": truth.tolist(), "own": values["own ECG"].tolist(),
            "shuffled": values["shuffled ECG"].tolist(), "real": real.tolist(),
            "by_arm": {arm: values[arm].tolist() for arm in ARMS},
        },
        "cines": {"true": [case.clip for case in cases], "own": own, "shuffled": shuffled, "no ECG": free},
    }  # fmt: skip


def joined(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the results of ``run_heldout`` on several ranges of phantoms as those of all of them; shuffled ECGs are
    those of another phantom of the same part."""
    values = [part["subject_values"] for part in parts]
    ef, truth, real = (np.concatenate([np.array(one[key]) for one in values]) for key in ("ef", "true", "real"))
    by_arm = {arm: np.concatenate([np.array(one["by_arm"][arm]) for one in values]) for arm in values[0]["by_arm"]}
    told = [part["reading"]["told"] for part in parts if part["reading"]]
    return {
        "arms": {"real clip, same read-out": arm_row(real, truth, ef)}
        | {arm: arm_row(found, truth, ef) for arm, found in by_arm.items()},
        "own_against_shuffled": pair_tests(by_arm["own ECG"], by_arm["shuffled ECG"], truth),
        "reading": reading_row(np.concatenate(told) if len(told) == len(parts) else None, ef),
        "seconds_per_clip": float(np.mean([part["seconds_per_clip"] for part in parts])),
        "subject_values": {
            "ef": ef.tolist(), "true": truth.tolist(), "real": real.tolist(), "own": by_arm["own ECG"].tolist(),
            "shuffled": by_arm["shuffled ECG"].tolist(),
            "by_arm": {arm: found.tolist() for arm, found in by_arm.items()},
        },
    }  # fmt: skip


def pair_tests(own: np.ndarray, other: np.ndarray, truth: np.ndarray) -> dict[str, dict[str, float]]:
    """Count on how many subjects each of FAC and end-systole is nearer to the truth with the own ECG, (N, 2) each."""
    best, worst = np.abs(own - truth), np.abs(other - truth)
    pairs = {}
    for column, name in enumerate(("fac", "es")):
        wins = int((best[:, column] < worst[:, column]).sum())
        losses = int((best[:, column] > worst[:, column]).sum())
        pairs[name] = {"wins": wins, "losses": losses, "p_sign": sign_test(wins, losses)}
    return pairs


def _told_ef(bundle: Bundle, scalars: torch.Tensor) -> np.ndarray | None:
    """Return the EF that the phenotype head reads, (N,); None without one."""
    head = bundle.model.amdf.pa_mae.phenotype
    if head is None or "ef" not in head.names:
        return None
    return head.in_units(scalars[:, RATE_SCALARS:].cpu())["ef"].numpy()


def reading_row(told: np.ndarray | None, ef: np.ndarray) -> dict[str, Any] | None:
    """Return how well a reading alone tells EF from the ECG, before any image is made."""
    if told is None:
        return None
    r = correlation_interval(told, ef)
    return {
        "ef_mae_points": float(100.0 * np.abs(told - ef).mean()),
        "constant_mae_points": float(100.0 * np.abs(np.median(ef) - ef).mean()),
        "ef_r": [r.value, r.low, r.high],
        "weak_auc": auc(-told, ef < WEAK_EF),
        "told": told.tolist(),
    }


def run_curve(
    bundle: Bundle, subjects: int, seed: int, body: int, settings: Sequence[tuple[float, float]]
) -> list[dict[str, Any]]:
    """Measure one draw of each phantom's own ECG under several (guidance, alpha) of the sampler."""
    cases = [draw_held_out(seed + index, bundle, body) for index in range(subjects)]
    tokens, scalars, _ = bundle.model.read([case.record for case in cases])
    truth = truth_of(cases)
    ef, own, rows = np.array([case.physiology.ef for case in cases]), bundle.model.defaults, []
    for guidance, alpha in settings:
        bundle.model.defaults = replace(own, guidance=guidance, alpha=alpha)
        cines = cines_of(bundle, tokens, scalars, seed=1)
        rows.append({"guidance": guidance, "alpha": alpha, **arm_row(read_all(bundle, cines, cases), truth, ef)})
    bundle.model.defaults = own
    return rows


def run_counterfactual_rate(
    bundle: Bundle, subjects: int, seed: int, body: int, slow: float = 50.0, fast: float = 90.0
) -> dict[str, float]:
    """Ask how end-systole moves from a slow to a fast heart, all else equal, in frames of 50."""
    shifts, wanted = [], []
    for index in range(subjects):
        times = []
        for rate in (slow, fast):
            case = draw_held_out(
                seed + index, bundle, body, hr_bpm=rate, atrial_fibrillation=False, conduction="",
            )  # fmt: skip
            parts = bundle.model.read([case.record])
            cine = cines_of(bundle, parts[0], parts[1], seed=1)[0]
            times.append((FRAMES * fac_and_es(bundle, cine, case.truth.rr_ms)[1],
                          FRAMES * case.truth.es_time_ms / case.truth.rr_ms))  # fmt: skip
        shifts.append(times[1][0] - times[0][0])
        wanted.append(times[1][1] - times[0][1])
    return {
        "slow_bpm": slow, "fast_bpm": fast, "subjects": subjects, "shift_frames": float(np.nanmean(shifts)),
        "shift_sd": float(np.nanstd(shifts)), "true_shift_frames": float(np.mean(wanted)),
        "right_direction": float(np.mean(np.array(shifts) > 0)),
    }  # fmt: skip


def cines_of(bundle: Bundle, tokens: torch.Tensor, scalars: torch.Tensor, seed: int) -> list[torch.Tensor]:
    """Return one cine (T, H, W) for each condition; subject k has the same noise in every arm."""
    model = bundle.model
    out = []
    for first in range(0, len(tokens), BATCH):
        part = slice(first, first + BATCH)
        latent = model.draw(tokens[part], scalars[part], bundle.segmenter, seed=seed * 1000 + first)
        out += list(model.decode(latent))
    return out


def arm_row(values: np.ndarray, truth: np.ndarray, ef: np.ndarray) -> dict[str, Any]:
    """Return what one arm achieves: errors, correlations with intervals, and how well FAC tells a weak heart."""
    fac, es = values.T
    with np.errstate(invalid="ignore"):
        r_fac, r_es = correlation_interval(fac, truth[:, 0]), correlation_interval(es, truth[:, 1])
    return {
        "fac_mae_points": float(np.nanmean(np.abs(fac - truth[:, 0]))),
        "fac_r": [r_fac.value, r_fac.low, r_fac.high],
        "es_mae_frames": FRAMES * float(np.nanmean(np.abs(es - truth[:, 1]))),
        "es_r": [r_es.value, r_es.low, r_es.high],
        "weak_auc": auc(-fac, ef < WEAK_EF),
        "weak_subjects": int((ef < WEAK_EF).sum()),
        "unmeasurable": int(np.isnan(fac).sum()),
    }


def auc(score: np.ndarray, positive: np.ndarray) -> float:
    """Return the area under the ROC curve (Mann–Whitney, ties count half); NaN without both classes."""
    known = np.isfinite(score)
    yes, no = score[known & positive], score[known & ~positive]
    if not len(yes) or not len(no):
        return float("nan")
    greater = (yes[:, None] > no[None]).sum() + 0.5 * (yes[:, None] == no[None]).sum()
    return float(greater / (len(yes) * len(no)))


def r_words(interval: Sequence[float | None]) -> str:
    """Return a correlation with its interval; a dash where it is not defined."""
    value, low, high = map(as_number, interval)
    return "–" if np.isnan(value) else f"{value:.2f} ({low:.2f} … {high:.2f})"
