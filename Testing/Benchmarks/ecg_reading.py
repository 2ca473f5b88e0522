"""How far an ECG's reading can be trusted: beats, P waves, rhythm, pacing and electrodes.

    python Testing/Benchmarks/ecg_reading.py --records 20 --recordings ../shared/data/ecg

Synthetic records whose truth is known, from 30 to 250 beats a minute, with usual and threefold noise, early beats,
fibrillation and pacing: sensitivity and positive predictive value of R peaks (within 75 ms), fibrillation against sinus
rhythm with early beats, and how often exchanged, reversed, inverted and paced records are flagged, and others are.
Then a table of the recordings of a folder. Exit code 1 where a bar is missed. With ``--detectors`` the detectors of R
peaks are compared instead, up to sixteenfold noise: ours, ours without NeuroKit2, and NeuroKit2 on lead II alone.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / floor) for floor in ("COFGenerator", "COFTraining", "Testing")]

from COFGeneratorLib.ecg import analyse_ecg, read_ecg  # noqa: E402
from COFGeneratorLib.ecg.record import Doubt, EcgRecord  # noqa: E402
from COFGeneratorLib.errors import EcgError  # noqa: E402
from support.ecg_rhythms import make  # noqa: E402

TOLERANCE_S, EDGE_S = 0.075, 0.15
RATES_BPM = {
    "sinus": (30, 45, 60, 80, 100, 120, 150, 180, 210, 250),
    "atrial premature": (50, 70, 90, 120),
    "ventricular premature": (50, 70, 90, 120),
    "fibrillation": (60, 90, 120, 150),
    "junctional": (40, 55),
    "paced": (60, 75),
}
NOISES = (1.0, 3.0)
STRONG_NOISES = (1.0, 3.0, 6.0, 10.0, 16.0)
STRONG_BPM = {"sinus": (45, 75, 110, 160), "ventricular premature": (70,), "fibrillation": (90,)}
BARS_PERCENT = {"beats": 99.5, "rhythm": 95.0, "flagged": 95.0, "clean": 3.0}


def counts(truth_s: np.ndarray, found_s: np.ndarray, seconds: float) -> np.ndarray:
    """Return hits, missed and extra peaks; what is cut by an end of the record counts as neither."""
    edge = (truth_s < EDGE_S) | (truth_s > seconds - EDGE_S)
    inner = found_s[(found_s > TOLERANCE_S) & (found_s < seconds - TOLERANCE_S)]
    free = [at for at in inner if not edge.any() or np.abs(truth_s[edge] - at).min() > TOLERANCE_S]
    hits = 0
    for peak in truth_s[~edge]:
        near = [at for at in free if abs(at - peak) <= TOLERANCE_S]
        if near:
            free.remove(min(near, key=lambda at: abs(at - peak)))
            hits += 1
    return np.array([hits, (~edge).sum() - hits, len(free)])


def changed(signal: np.ndarray, how: str) -> np.ndarray:
    """Return (12, L) with electrodes in wrong places."""
    one, two, three, avr, avl, avf = signal[:6]
    limbs = {
        "arms exchanged": [-one, three, two, avl, avr, avf],
        "right arm and left leg": [-three, -two, -one, avf, avl, avr],
    }
    if how == "inverted":
        return -signal
    if how == "chest leads reversed":
        return np.concatenate([signal[:6], signal[:5:-1]])
    return np.concatenate([np.stack(limbs[how]), signal[6:]])


def synthetic(records: int, seed: int) -> bool:
    """Print the tables of synthetic records; True where all bars are met."""
    total, rhythms, flagged = np.zeros(3), Counter(), Counter()
    for kind, rates in RATES_BPM.items():
        part, spent = np.zeros(3), Counter()
        for rate in rates:
            for noise in NOISES:
                for k in range(records):
                    made = make(np.random.default_rng([seed, k, rate, int(noise)]), kind, float(rate), noise)
                    try:
                        cycle = analyse_ecg(made.record)
                    except EcgError:
                        part += counts(made.r_s, np.empty(0), 10.0)
                        spent["refused"] += 1
                        continue
                    part += counts(made.r_s, cycle.r_peaks_s, 10.0)
                    spent["fibrillation" if "fibrillation" in cycle.rhythm else "other"] += 1
                    rhythms[kind, "fibrillation" in cycle.rhythm] += 1
                    flagged[kind, "paced", Doubt.PACED in cycle.doubts] += 1
                    flagged["clean" if kind != "paced" else kind, "any", bool(set(cycle.doubts) - {Doubt.QUALITY})] += 1
                    if kind == "sinus" and noise == 1.0 and 45 <= rate <= 120:
                        for how in ("arms exchanged", "right arm and left leg", "chest leads reversed", "inverted"):
                            wrong = EcgRecord(changed(made.record.signal_mv, how), made.record.fs_hz)
                            flagged[how, "any", bool(analyse_ecg(wrong).doubts)] += 1
        total += part
        hits, missed, extra = part
        print(
            f"  {kind:22s} {int(hits + missed):6d} beats  sensitivity {100 * hits / (hits + missed):6.2f} %  "
            f"PPV {100 * hits / (hits + extra):6.2f} %  {dict(spent)}"
        )
    hits, missed, extra = total
    beats = min(100 * hits / (hits + missed), 100 * hits / (hits + extra))
    print(f"  all: sensitivity {100 * hits / (hits + missed):.2f} %, PPV {100 * hits / (hits + extra):.2f} %")

    def share(counter: Counter, *key: str) -> float:
        yes, no = counter[(*key, True)], counter[(*key, False)]
        return 100.0 * yes / max(yes + no, 1)

    sensitivity = share(rhythms, "fibrillation")
    early = [share(rhythms, kind) for kind in ("atrial premature", "ventricular premature")]
    print(f"  fibrillation named in {sensitivity:.1f} % of it; in {early[0]:.1f} % and {early[1]:.1f} % of early beats")
    print(
        f"  paced: {share(flagged, 'paced', 'paced'):.1f} % flagged; others flagged: "
        f"{share(flagged, 'clean', 'any'):.1f} %"
    )
    wrong = ("arms exchanged", "right arm and left leg", "chest leads reversed", "inverted")
    for how in wrong:
        print(f"  {how}: {share(flagged, how, 'any'):.1f} % flagged")
    bars = {
        "beats": beats >= BARS_PERCENT["beats"],
        "fibrillation": sensitivity >= BARS_PERCENT["rhythm"] and max(early) <= 100.0 - BARS_PERCENT["rhythm"],
        "flagged": min(share(flagged, how, "any") for how in wrong) >= BARS_PERCENT["flagged"]
        and share(flagged, "paced", "paced") >= BARS_PERCENT["flagged"],
        "clean": share(flagged, "clean", "any") <= BARS_PERCENT["clean"],
    }
    print("  bars: " + ", ".join(f"{name} {'met' if met else 'MISSED'}" for name, met in bars.items()))
    return all(bars.values())


def detectors(records: int, seed: int) -> None:
    """Print how the detectors of R peaks compare, by noise."""
    import neurokit2 as nk
    from COFGeneratorLib.ecg import detection

    def ours(record: EcgRecord, agreed: float) -> np.ndarray:
        usual, detection.AGREED = detection.AGREED, agreed
        try:
            return detection.find_r_peaks(record)
        except EcgError:
            return np.empty(0)
        finally:
            detection.AGREED = usual

    def lead_ii(record: EcgRecord) -> np.ndarray:
        cleaned = nk.ecg_clean(record.lead("II").astype(float), sampling_rate=record.fs_hz)
        return nk.ecg_findpeaks(cleaned, sampling_rate=record.fs_hz)["ECG_R_Peaks"] / record.fs_hz

    readings = {
        "ours": lambda record: ours(record, detection.AGREED),
        "ours without NeuroKit2": lambda record: ours(record, 0.0),
        "NeuroKit2 on lead II": lead_ii,
    }
    for noise in STRONG_NOISES:
        totals = {name: np.zeros(3) for name in readings}
        for kind, rates in STRONG_BPM.items():
            for rate in rates:
                for k in range(records):
                    made = make(np.random.default_rng([seed, k, rate, int(noise)]), kind, float(rate), noise)
                    for name, reading in readings.items():
                        totals[name] += counts(made.r_s, reading(made.record), 10.0)
        for name, (hits, missed, extra) in totals.items():
            print(
                f"  noise × {noise:4.0f}  {name:24s} sensitivity {100 * hits / (hits + missed):6.2f} %  "
                f"PPV {100 * hits / max(hits + extra, 1):6.2f} %",
                flush=True,
            )


def recordings(folder: Path) -> None:
    """Print what is read of each recording of a folder."""
    for path in sorted(folder.rglob("*")):
        if (
            not path.is_file()
            or path.suffix == ".dat"
            or (path.suffix == ".mat" and path.with_suffix(".hea").is_file())
        ):
            continue
        try:
            cycle = analyse_ecg(read_ecg(path))
        except EcgError as error:
            print(f"  {path.name:28s} {error}")
            continue
        doubts = ", ".join(cycle.doubts) or "–"
        pr = f"{cycle.pr_ms:.0f}" if cycle.p_wave_present else "–"
        print(
            f"  {path.name:28s} HR {cycle.mean_hr_bpm:4.0f}  PR {pr:>4s}  QRS {cycle.qrsd_ms:4.0f}  quality "
            f"{cycle.quality:.2f}  doubts {doubts:16s} {cycle.rhythm}"
        )


def main() -> int:
    """Run the bench; 0 when the bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=20, help="of each rhythm, rate and noise")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--recordings", type=Path)
    parser.add_argument("--detectors", action="store_true", help="compare detectors of R peaks instead")
    options = parser.parse_args()
    if options.detectors:
        detectors(options.records, options.seed)
        return 0
    print(f"Synthetic records, {options.records} of each rhythm, rate and noise, seed {options.seed}")
    met = synthetic(options.records, options.seed)
    if options.recordings:
        print("Recordings")
        recordings(options.recordings)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
