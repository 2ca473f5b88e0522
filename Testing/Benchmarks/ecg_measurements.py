"""How well R peaks and waves are found on synthetic ECGs whose truth is known.

    python Testing/Benchmarks/ecg_measurements.py --records 200 --seed 1

Prints sensitivity and positive predictive value of R peaks (within 75 ms) in sinus rhythm, with threefold noise, in
atrial fibrillation and with a premature ventricular beat in every record, and the errors of P onset, QRS onset, QRS
offset and T end (median, median absolute, 95th percentile of the absolute). Exit code 1 where sensitivity or
predictive value falls below 99 %.
"""

import argparse
import copy
import sys
import time
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / floor) for floor in ("COFGenerator", "COFTraining")]

from COFGeneratorLib.ecg.beats import analyse_ecg, cycle_from_peaks  # noqa: E402
from COFGeneratorLib.ecg.detection import find_r_peaks  # noqa: E402
from COFGeneratorLib.errors import EcgError  # noqa: E402
from COFTrainingLib.phantom.ecg_findings import compose_beat  # noqa: E402
from COFTrainingLib.phantom.electrocardiogram import ECTOPIC_RECORDS, synthesise_ecg  # noqa: E402
from COFTrainingLib.phantom.lead_field import draw_lead_field  # noqa: E402
from COFTrainingLib.phantom.physiology import draw_physiology  # noqa: E402

TOLERANCE_S = 0.075
BAR_PERCENT = 99.0


def counts(truth_s: np.ndarray, found_s: np.ndarray) -> tuple[int, int, int]:
    """Return true positives, missed and extra peaks; each truth is matched once."""
    free = list(found_s)
    hits = 0
    for peak in truth_s:
        near = [time for time in free if abs(time - peak) <= TOLERANCE_S]
        if near:
            free.remove(min(near, key=lambda time: abs(time - peak)))
            hits += 1
    return hits, len(truth_s) - hits, len(free)


def main() -> int:
    """Run the bench; 0 when the bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    failed = False

    print(f"R peaks, {options.records} records each, seed {options.seed}")
    settings = {
        "sinus": {},
        "threefold noise": {"noise": 3.0},
        "atrial fibrillation": {"af": True},
        "ectopy": {"ectopy": True},
    }
    for name, setting in settings.items():
        total = np.zeros(3, dtype=int)
        premature = 1.0 if setting.get("ectopy") else ECTOPIC_RECORDS
        for k in range(options.records):
            rng = np.random.default_rng([options.seed, k])
            patient = draw_physiology(rng, atrial_fibrillation=bool(setting.get("af", False)))
            record, peaks = synthesise_ecg(patient, rng, noise=setting.get("noise", 1.0), premature=premature)
            truth = peaks / record.fs_hz
            found = find_r_peaks(record)
            # The first and last 150 ms may hold half a QRS: neither found nor missed counts there.
            inside = (truth > 0.15) & (truth < record.duration_s - 0.15)
            found = found[(found > 0.075) & (found < record.duration_s - 0.075)]
            edge = truth[~inside]
            found = np.array([f for f in found if not len(edge) or np.abs(edge - f).min() > TOLERANCE_S])
            total += counts(truth[inside], found)
        hits, missed, extra = total
        sensitivity, predictive = 100 * hits / (hits + missed), 100 * hits / (hits + extra)
        failed |= min(sensitivity, predictive) < BAR_PERCENT
        print(f"  {name:20s} {hits + missed:6d} beats  sensitivity {sensitivity:6.2f} %  PPV {predictive:6.2f} %")

    print("Delineation, ms (ours − generator)")
    errors: dict[str, list[float]] = {name: [] for name in ("P onset", "QRS onset", "QRS offset", "T end", "R–R")}
    fallback = p_right = measured = 0
    spent = 0.0
    for k in range(options.records):
        rng = np.random.default_rng([options.seed, 10_000 + k])
        patient = draw_physiology(rng)
        again = copy.deepcopy(rng)
        draw_lead_field(again, 1.0)
        beat = compose_beat(patient, again)
        record, peaks = synthesise_ecg(patient, rng)
        try:
            cycle = analyse_ecg(record)
        except EcgError as error:
            print(f"  record {k}: {error}")
            continue
        begin = time.process_time()
        cycle_from_peaks(record, peaks)
        spent += time.process_time() - begin
        measured += 1
        fallback += cycle.t_end_source == "fallback"
        p_right += cycle.p_wave_present != patient.atrial_fibrillation
        errors["QRS onset"].append(cycle.qrs_onset_ms - beat.qrs_onset_ms)
        errors["QRS offset"].append(cycle.qrs_offset_ms - beat.qrs_offset_ms)
        errors["T end"].append(cycle.t_end_ms - beat.t_end_ms)
        if beat.p is not None and cycle.p_wave_present:
            errors["P onset"].append(cycle.p_onset_ms - (beat.qrs_onset_ms - patient.pr_ms))
        errors["R–R"].append(cycle.rr_ms - patient.rr_ms if not patient.atrial_fibrillation else 0.0)
    for name, values in errors.items():
        values = np.array(values)
        spread = np.abs(values - np.median(values))
        print(
            f"  {name:10s} n {len(values):4d}  median {np.median(values):+6.1f}"
            f"  |median| {np.median(np.abs(values)):5.1f}"
            f"  95 % {np.percentile(np.abs(values), 95):6.1f}  95 % about the median {np.percentile(spread, 95):6.1f}"
        )
    print(f"  P present or absent rightly: {p_right}/{measured}; T end from heart rate: {fallback}/{measured}")
    print(f"  one cycle from known peaks: {1000 * spent / max(measured, 1):.1f} ms of processor time")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
