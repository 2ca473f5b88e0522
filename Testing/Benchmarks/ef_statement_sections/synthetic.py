"""What is stated on synthetic patients, whose EF is known: error, coverage, the domain check, dilated anchors."""

from typing import Any

import numpy as np

FLAGGED_SOUND, FLAGGED_UNFIT = 0.03, 0.95
COVERAGE = (0.85, 0.97)
DILATED_ML, LOWER_PERCENT = 220.0, 10.0


def judge_synthetic(encoder: Any, statement: Any, patients: int, seed: int) -> tuple[dict[str, bool], dict[str, float]]:
    """Print error, coverage and the domain check on synthetic patients; return which bars hold, and the figures."""
    from COFGeneratorLib.ecg.beats import analyse_ecg
    from COFGeneratorLib.errors import EcgError
    from COFGeneratorLib.generator.ejection import ejection_fraction
    from COFGeneratorLib.generator.networks.ecg_encoder import MISHAPS
    from COFTrainingLib.phantom.electrocardiogram import synthesise_ecg
    from COFTrainingLib.phantom.prevalence import NATURAL
    from COFTrainingLib.phantom.subject import draw_subject
    from COFTrainingLib.training.ecg.ecg_cohort import OVERSAMPLED
    from COFTrainingLib.training.ecg.statement_cohort import far_out_record, subject_measures

    kinds = ("", *MISHAPS[1:], "far out")
    rows: list[dict[str, Any]] = []
    for kind in kinds:
        for n in range(patients if not kind else max(patients // 5, 10)):
            subject = draw_subject(seed + n, OVERSAMPLED if n % 2 else NATURAL)
            rng = np.random.default_rng([seed + n, 6])
            measures = subject_measures(subject, rng)
            record, _ = synthesise_ecg(subject.physiology, rng, mishap=kind if kind in MISHAPS else "")
            try:
                cycle = analyse_ecg(far_out_record(record, rng) if kind == "far out" else record)
            except EcgError:
                rows.append({"kind": kind, "status": "refused"})
                continue
            times_ms = np.arange(50) / 50 * subject.physiology.rr_ms
            row: dict[str, Any] = {"kind": kind, "ef": ejection_fraction(subject.heart.lv_volume_ml(times_ms))}
            for source, anatomy in (("ecg", None), ("both", measures)):
                row[source] = statement.state(encoder, cycle, anatomy)
            row["anatomy"] = statement.state(encoder, None, measures)
            row["status"], row["natural"] = row["both"].status, n % 2 == 0
            rows.append(row)

    sound = [row for row in rows if not row["kind"] and "ef" in row]
    figures: dict[str, float] = {}
    print(f"\nSynthetic patients ({patients}), EF in points")
    print("  from        MAE all  natural /constant  bias<35  coverage  width")
    for source in ("ecg", "anatomy", "both"):
        truth = np.array([row["ef"] for row in sound])
        error = np.array([row[source].mean for row in sound]) - truth
        natural = np.array([row["natural"] for row in sound])
        constant = np.abs(truth[natural] - np.median(truth[natural])).mean()
        half = np.array([row[source].z90 * row[source].sd for row in sound])
        covered, ratio = (np.abs(error) <= half).mean(), np.abs(error[natural]).mean() / constant
        print(
            f"  {source:10s} {100 * np.abs(error).mean():8.2f} {100 * np.abs(error[natural]).mean():8.2f} {ratio:9.2f} "
            f"{100 * error[truth < 0.35].mean():8.2f} {covered:9.3f} {100 * half.mean():6.1f}"
        )
        figures |= {
            f"{source}_mae": 100 * np.abs(error).mean(),
            f"{source}_ratio": ratio,
            f"{source}_coverage": covered,
        }
    bars = {"90 % intervals of ECG and anatomy cover 85–97 %": COVERAGE[0] <= figures["both_coverage"] <= COVERAGE[1]}

    print(f"\n  {'records':10s}   N  flagged  withheld  refused")
    for kind in kinds:
        mine = [row["status"] for row in rows if row["kind"] == kind]
        flagged = np.mean([status != "stated" for status in mine])
        withheld, refused = (100 * np.mean([status == word for status in mine]) for word in ("withheld", "refused"))
        print(f"  {kind or 'sound':10s} {len(mine):3d} {100 * flagged:7.1f} % {withheld:6.1f} % {refused:6.1f} %")
        figures[f"flagged_{kind or 'sound'}"] = flagged
        words = "sound records: at most 3 % flagged" if not kind else f"{kind}: at least 95 % flagged"
        bars[words] = bool(flagged <= FLAGGED_SOUND if not kind else flagged >= FLAGGED_UNFIT)

    def covers(row: dict[str, Any]) -> bool:
        return abs(row["both"].mean - row["ef"]) <= row["both"].z90 * row["both"].sd

    flagged, trusted = (
        [covers(r) for r in rows if "ef" in r and (r["status"] != "stated") is f] for f in (True, False)
    )
    for words, held in (("flagged", flagged), ("not flagged", trusted)):
        print(f"  coverage where {words}: {f'{np.mean(held):.3f}' if held else '–'} ({len(held)})")
    if flagged and trusted:
        bars["flagged intervals hold at least as often"] = bool(np.mean(flagged) >= np.mean(trusted))
    return bars, figures


def judge_dilated(encoder: Any, statement: Any, seed: int) -> dict[str, bool]:
    """Print what a dilated and a usual anchor say beside one normal ECG; return which bars hold."""
    from COFGeneratorLib.ecg.beats import analyse_ecg
    from COFTrainingLib.phantom.electrocardiogram import synthesise_ecg
    from COFTrainingLib.phantom.subject import draw_subject
    from COFTrainingLib.training.ecg.statement_cohort import subject_measures

    healthy = {"infarct_territory": "", "infarct_extent": 0.0, "conduction": "", "hypertrophy": False, "rv_load": ""}
    usual, dilated, notes = [], [], 0
    for n in range(40):
        rng = np.random.default_rng([seed + n, 7])
        well = draw_subject(seed + n, ef=0.60, hr_bpm=65.0, athlete=False, **healthy)
        cycle = analyse_ecg(synthesise_ecg(well.physiology, rng, premature=0.0)[0])
        ill = draw_subject(seed + n, ef=0.28, **healthy)
        if ill.heart.shape.edv_ml <= DILATED_ML:
            continue
        one, other = (statement.state(encoder, cycle, subject_measures(heart, rng)) for heart in (well, ill))
        usual.append(100 * one.mean)
        dilated.append(100 * other.mean)
        notes += any("disagree" in note for note in other.notes)
    if not usual:
        print(f"\nNo synthetic heart of more than {DILATED_ML:.0f} mL was drawn.")
        return {"a dilated synthetic anchor lowers EF by 10 points": False}
    print(
        f"\nA normal ECG, {len(usual)} times: beside a usual anchor EF {np.mean(usual):.1f}, beside one of more ",
        end="",
    )
    print(f"than {DILATED_ML:.0f} mL {np.mean(dilated):.1f}; the disagreement is noted in {notes}")
    return {"a dilated synthetic anchor lowers EF by 10 points": np.mean(usual) - np.mean(dilated) >= LOWER_PERCENT}
