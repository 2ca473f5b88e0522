"""Main image table: likeness of cines, subject by subject and as distributions."""

from typing import Any

import numpy as np

from COFTrainingLib.evaluation.features import unpacked
from COFTrainingLib.evaluation.metrics.distribution import (
    frechet,
    half_split,
    kernel_distance,
    paired_kernel_distance,
    standard_error,
    standardise,
    subsampled,
)
from COFTrainingLib.evaluation.plan import Plan
from COFTrainingLib.evaluation.report import figures
from COFTrainingLib.evaluation.report.papers import published
from COFTrainingLib.evaluation.report.section import Figure, Section, Table
from COFTrainingLib.evaluation.run import CINE, REFERENCE
from COFTrainingLib.evaluation.store import Numbers, Store

METRICS = (
    ("psnr_db", "PSNR dB ↑", 2), ("psnr_heart_db", "PSNR heart dB ↑", 2), ("ssim", "SSIM ↑", 3),
    ("ssim_heart", "SSIM heart ↑", 3), ("motion_correlation", "M-Corr ↑", 3),
    ("motion_correlation_heart", "M-Corr heart ↑", 3), ("motion_ssim_heart", "M-SSIM heart ↑", 3),
)  # fmt: skip
COMPONENTS = 16
"""Principal components kept for distances: below a hundred subjects, more only add bias."""
FEWEST = 8
SHUFFLED = "recorded cines, time shuffled (control)"


def summarise(plan: Plan, store: Store) -> Section:
    """Return the section."""
    numbers = Numbers(store, CINE, [name for name, *_ in METRICS])
    section = Section("image", "Image table")
    methods = [m for m in numbers.methods if numbers.known(m, "psnr_db")]
    if not methods:
        section.not_run = "No cine images were compared: the cohort has labels alone."
        return section
    rows = []
    for method in methods:
        cells = []
        for name, _, digits in METRICS:
            values = numbers(method, name)
            known = values[np.isfinite(values)]
            cells.append(f"{known.mean():.{digits}f} ± {known.std(ddof=min(1, len(known) - 1)):.{digits}f}"
                         if len(known) else "–")  # fmt: skip
        rows.append((method, *cells))
    section.text.append(
        "Mean ± SD over subjects. Most of a slice never moves, so whole-image PSNR and SSIM say little: read the heart "
        "columns and the row “copy anchor”. Intensities are scaled by percentiles of the anchor; SSIM per slice, 7×7 "
        "window, in about ten frames of a cycle. M-Corr: mean over frames of the correlation of both changes since "
        "frame 0. M-SSIM: SSIM of absolute changes from frame to frame, around the heart."
    )
    section.tables.append(Table("image", "Image likeness", ("Method", *(label for _, label, _ in METRICS)), rows))
    distances = _distances(plan, store, methods)
    if distances is not None:
        section.tables.append(distances[0])
    as_papers = papers_distances(store, methods)
    if as_papers is not None:
        section.tables.append(as_papers)
    chosen = [m for m in methods if not m.startswith(f"{plan.main} ·") or m.endswith("null ECG")]
    axes = [("psnr_heart_db", "PSNR heart"), ("ssim_heart", "SSIM heart"), ("motion_correlation_heart", "M-Corr heart"),
            ("motion_ssim_heart", "M-SSIM heart")]  # fmt: skip
    means = {m: [float(np.nanmean(numbers(m, name))) if numbers.known(m, name) else 0.0 for name, _ in axes]
             for m in chosen}  # fmt: skip
    labels, lower = [label for _, label in axes], [False] * len(axes)
    if distances is not None:
        for place, label in ((0, "FD image"), (1, "FD temporal")):
            labels.append(label)
            lower.append(True)
            for m in chosen:
                means[m].append(distances[1].get(m, (float("nan"),) * 2)[place])
    section.figures.append(Figure(
        "image_radar", "Image table at a glance", figures.radar(labels, means, lower, "Image metrics, min–max"),
        note="Each axis runs from the worst to the best of the methods shown; the shapes compare methods with one "
        "another, not with perfection. A cine that does not move has no motion correlation and is drawn at 0.",
    ))  # fmt: skip
    section.tables += [published("published_image"), published("published_image_v1")]
    section.numbers = {
        m: {name: float(np.nanmean(numbers(m, name))) for name, *_ in METRICS if numbers.known(m, name)}
        for m in methods
    }
    return section


def papers_distances(store: Store, methods: list[str]) -> Table | None:
    """Return the Fréchet distances as the papers have them, or None where DINOv2's weights were not given.

    Vectors of a subject as ``features.subject_vectors`` has them, in full dimension and DINOv2's own unit.
    """
    kinds = ("papers_temporal", "papers_image")
    vectors: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    for name in (REFERENCE, *methods):
        rows = store.rows(REFERENCE) if name == REFERENCE else store.rows(CINE, name)
        kept = {row["subject"]: row["features"] for row in rows if row.get("features")}
        packed = {subject: row for subject, row in kept.items() if kinds[0] in row}
        vectors[name] = {s: {kind: unpacked(row[kind]) for kind in kinds} for s, row in packed.items()}
    vectors = {name: rows for name, rows in vectors.items() if rows}
    subjects = sorted(set.intersection(*(set(rows) for rows in vectors.values()))) if REFERENCE in vectors else []
    if len(subjects) < FEWEST or len(vectors) < 2:
        return None
    stacked = {m: [np.stack([rows[s][kind] for s in subjects]) for kind in kinds] for m, rows in vectors.items()}
    true = stacked.pop(REFERENCE)
    cells: list[tuple[Any, ...]] = [
        (m, *(subsampled(one, other, frechet) for one, other in zip(true, made, strict=True)))
        for m, made in stacked.items()
    ]  # fmt: skip
    cells.append(("half of the recorded against the other half (floor)", *(half_split(one, frechet) for one in true)))
    return Table(
        "image_distances_papers", "Fréchet distances as in the papers (DINOv2, full dimension)",
        ("Method", "FVD ↓", "FID ↓"), [(m, *(f"{mean:.2f} ± {sd:.2f}" for mean, sd in parts)) for m, *parts in cells],
        f"N = {len(subjects)} (halves: {len(subjects) // 2} each). FID: the mean of the vectors of all slices and "
        f"frames of a subject, {true[1].shape[1]} numbers. FVD: the mid-ventricular slice’s vectors in the order of "
        f"eleven canonical frames, {true[0].shape[1]} numbers. ± spread of 50 subsamples of 80 %. The distance grows "
        "with "
        "fewer subjects, so compare with the floor of the same N and never across cohorts.",
    )  # fmt: skip


def _distances(plan: Plan, store: Store, methods: list[str]) -> tuple[Table, dict[str, tuple[float, ...]]] | None:
    """Return (table, method → (image, temporal) distance), or None where there are no features."""
    reference = {row["subject"]: row["features"] for row in store.rows(REFERENCE) if row.get("features")}
    found = {m: {r["subject"]: r["features"] for r in store.rows(CINE, m) if r.get("features")} for m in methods}
    found = {m: rows for m, rows in found.items() if rows}
    subjects = sorted(set(reference).intersection(*found.values())) if found else []
    if len(subjects) < FEWEST:
        return None
    values: dict[str, list[tuple[tuple[float, float], tuple[float, float]]]] = {m: [] for m in found}
    rows, floors = [], []
    found |= {SHUFFLED: {s: {**reference[s], "temporal": reference[s]["shuffled"]} for s in subjects}}
    values[SHUFFLED] = []
    for kind in ("image", "temporal"):
        true = np.array([reference[s][kind] for s in subjects])
        made = [np.array([found[m][s][kind] for s in subjects]) for m in found]
        keep = min(COMPONENTS, len(subjects) // 3, true.shape[1])
        true, *made = standardise(true, *made, keep=keep)
        floors.append((half_split(true, frechet), half_split(true, kernel_distance)))
        for method, sample in zip(found, made, strict=True):
            kid = subsampled(true, sample, paired_kernel_distance)
            values[method].append((subsampled(true, sample, frechet), kid))
    for method, parts in values.items():
        rows.append((method, *(f"{mean:.3f} ± {standard_error(sd):.3f}" for part in parts for mean, sd in part)))
    rows.append(("half of the recorded against the other half (floor)",
                 *(f"{mean:.3f} ± {sd:.3f}" for part in floors for mean, sd in part)))  # fmt: skip
    feature = "DINOv2, from a local file" if plan.features else "encoder of the main model's segmenter"
    table = Table(
        "image_distances", f"Distances of distributions (features: {feature})",
        ("Method", "FD image ↓", "KID image ↓", "FD temporal ↓", "KID temporal ↓"), rows,
        f"N = {len(subjects)} (halves: {len(subjects) // 2} each), {keep} principal components of the recorded, unit "
        "mean variance; mean of 50 subsamples of 80 % without replacement ± standard error (delete-d jackknife; of the "
        "floor: SD over splits). Not comparable with published FID and FVD. Methods that warp the recorded anchor are "
        "near-copies of the reference, which these distances reward; a random sample is one of the recorded cines. "
        "Variants of the main model are left out. Time shuffled: the recorded frames themselves in a random order, "
        "which a distance of motion has to tell from the recorded cine.",
    )  # fmt: skip
    return table, {m: tuple(part[0][0] for part in parts) for m, parts in values.items()}
