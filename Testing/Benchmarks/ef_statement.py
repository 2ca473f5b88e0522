"""What is stated of the ejection fraction: on real 12-lead ECGs, and on synthetic patients whose EF is known.

    python Testing/Benchmarks/ef_statement.py [--run RUN | --bundle FOLDER] [--patients 400] [--seed 73000000]
        [--data FOLDER] [--json FILE]

Real recordings (``ecg`` in ``../shared/data``, and its ``diagnoses``; none has an EF beside it) are asked by the groups
of their diagnoses: normal ones must be stated normal, isolated right bundle branch block and T changes not low on
average, and an infarct hardly ever claimed where the file names none. Synthetic patients, half of them drawn with
findings oversampled: error and coverage of ECG, anatomy and both; how many sound records the domain check flags, and
how many of those upside down, with exchanged cables, paced or far out. Two anchors under one normal ECG, a usual one
and one dilated beyond 220 mL, must differ. Exit code 1 where a bar falls short.
"""

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / floor) for floor in ("COFGenerator", "COFTraining")]

from ef_statement_sections.real_data import ask_real, judge_real, judge_real_anchors  # noqa: E402
from ef_statement_sections.synthetic import judge_dilated, judge_synthetic  # noqa: E402


def main() -> int:
    """Run the bench; 0 when the bars are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="run folder of cof train ecg")
    parser.add_argument("--bundle", type=Path, default=ROOT / "Resources" / "Models" / "cof-plus")
    parser.add_argument("--patients", type=int, default=400, help="synthetic ones; 0: real recordings alone")
    parser.add_argument("--seed", type=int, default=73_000_000)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    from COFTrainingLib.training.ecg.ecg_training import load_encoder, load_statement

    if options.run:
        encoder, statement = load_encoder(options.run), load_statement(options.run)
    else:
        from COFGeneratorLib import load_bundle

        model = load_bundle(options.bundle).model
        encoder, statement = model.encoder, model.statement
    if statement is None:
        print("No statement of EF lies beside this encoder. Train it with: cof train ecg")
        return 1
    bars: dict[str, bool] = {}
    figures: dict[str, float] = {}
    if options.patients > 0:
        bars, figures = judge_synthetic(encoder, statement, options.patients, options.seed)
        bars |= judge_dilated(encoder, statement, options.seed)
    if (options.data / "ecg").is_dir():
        bars |= judge_real(ask_real(encoder, statement, options.data / "ecg"))
        bars |= judge_real_anchors(encoder, statement, options.data)
    else:
        print(f"No recordings in {options.data / 'ecg'}: left out.")
    if not bars:
        print("Nothing was judged. Give --patients, or --data with a folder ecg.")
        return 1
    print()
    for words, holds in bars.items():
        print(f"  {'holds' if holds else 'FAILS'}  {words}")
    if options.json:
        facts = {"figures": {k: float(v) for k, v in figures.items()}, "bars": {k: bool(v) for k, v in bars.items()}}
        options.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return 0 if all(bars.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
