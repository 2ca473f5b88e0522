"""How often the 90 % interval that a model states from the ECG alone holds the true EF of subjects it never saw.

    python Testing/Benchmarks/ef_coverage.py [--bundle FOLDER] [--records 400] [--seed 7000000] [--json FILE]

The first 64 subjects of seed 7000000 are those of ``heldout.py``. Exits with 1 where coverage leaves 85–95 %.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "COFGenerator"), str(ROOT / "COFTraining")]

COVERAGE_PERCENT = (85.0, 95.0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, default=ROOT / "Resources" / "Models" / "cof-plus")
    parser.add_argument("--records", type=int, default=400)
    parser.add_argument("--seed", type=int, default=7_000_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    from COFGeneratorLib import load_bundle
    from COFTrainingLib.training.motion.ef_interval import stated_and_true

    bundle = load_bundle(options.bundle)
    stated, sds, true = stated_and_true(bundle.model, options.seed, options.records)
    inside = np.abs(true - stated) <= bundle.model.ef_z90 * sds
    coverage = 100 * float(inside.mean())
    figures = {
        "coverage_percent": coverage,
        "coverage_standard_error": float(np.sqrt(coverage * (100 - coverage) / len(inside))),
        "mean_half_width_points": 100 * float((bundle.model.ef_z90 * sds).mean()),
        "bias_points": 100 * float((stated - true).mean()),
        "mae_points": 100 * float(np.abs(stated - true).mean()),
        "constant_mae_points": 100 * float(np.abs(true - np.median(true)).mean()),
    }
    print(f"{bundle.model_id}, weights {bundle.weights_sha256[:12]}, {options.records} ECGs, seed {options.seed}")
    for name, value in figures.items():
        print(f"{name:26s}{value:8.2f}")
    if options.json:
        facts = {"weights_sha256": bundle.weights_sha256, "records": options.records, "seed": options.seed, **figures}
        options.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return 0 if COVERAGE_PERCENT[0] <= coverage <= COVERAGE_PERCENT[1] else 1


if __name__ == "__main__":
    sys.exit(main())
