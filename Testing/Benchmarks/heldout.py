"""The main job on held-out phantom subjects, with all baselines side by side; exit 1 where a bar falls short.

    python Testing/Benchmarks/heldout.py --subjects 64 --seed 7000000 [--bundle B] [--v2 BUNDLE] [--json OUT]

``--v2`` shows a second model's centre and one draw beside. The row "centre, no EF factor" is also the regression with
the same network and budget: the flow's expectation is learnt by regression, and nothing else touches it.

Seeds from 100000 to 1999999 belong to training and calibration; choose others.
"""

import argparse
import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in ("COFGenerator", "COFTraining", "Testing/Benchmarks")]
TRAINING_SEEDS = range(100_000, 2_000_000)
WRITTEN_BARS = {"frame0_is_anchor": (">=", 1), "geometry_error_mm": ("<=", 1e-3)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--subjects", type=int, default=64)
    parser.add_argument("--seed", type=int, default=7_000_000)
    parser.add_argument("--counterfactuals", type=int, default=32, help="anchors of the counterfactual questions")
    parser.add_argument("--bundle", type=Path, default=ROOT / "Resources" / "Models" / "cof-plus")
    parser.add_argument("--v2", type=Path, metavar="BUNDLE", help="a second model, shown beside")
    parser.add_argument("--no-spread", dest="spread", action="store_false", help="do not judge the draws' spread")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.seed in TRAINING_SEEDS or options.seed + options.subjects in TRAINING_SEEDS:
        parser.error(f"seeds {TRAINING_SEEDS.start}…{TRAINING_SEEDS.stop - 1} were trained on; choose another --seed")

    import torch
    from COFGeneratorLib.generator import load_bundle
    from COFTrainingLib.evaluation.comparators.library import population_of
    from COFTrainingLib.phantom.oracles import oracle_floors
    from COFTrainingLib.studies.heldout.heldout import (
        BARS,
        COUNTERFACTUAL_BARS,
        failed_bars,
        run_counterfactuals,
        run_heldout,
    )
    from COFTrainingLib.studies.heldout.spread import BARS as SPREAD_BARS
    from COFTrainingLib.studies.heldout.spread import bars_of, judge_spread
    from written_result import written_result

    start = time.perf_counter()
    bundle = load_bundle(options.bundle)
    population = torch.from_numpy(population_of(bundle))
    other = load_bundle(options.v2) if options.v2 else None

    def tell(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    result = run_heldout(bundle, population, options.subjects, options.seed, tell, other)
    print(f"{bundle.model_id}, weights {bundle.weights_sha256[:12]}, N {options.subjects}, seed {options.seed}\n")
    names = ("ef_mae_points", "ef_bias_points", "es_error_frames", "es_argmin_error_frames", "curve_rmse_ml")
    print(f"{'arm':26s}" + "".join(f"{name:>24s}" for name in names))
    for arm, row in result["arms"].items():
        print(f"{arm:26s}" + "".join(f"{row[name]:24.2f}" for name in names))
    floors = oracle_floors(20_000, options.seed)
    print("\noracle floors (generator's own parameters):", json.dumps(floors))

    summary, bars = dict(result["summary"]), dict(BARS)
    summary.update(written_result(bundle, result["cases"][0]))
    bars.update(WRITTEN_BARS)
    spread = judge_spread(bundle, result["cases"], options.seed, tell) if options.spread else {}
    if spread:
        print(f"\n{'draws':16s}" + "".join(f"{name:>18s}" for name in next(iter(spread.values()))))
        for name, row in spread.items():
            print(f"{name:16s}" + "".join(f"{value:18.3f}" for value in row.values()))
        summary.update(bars_of(spread))
        bars.update(SPREAD_BARS)
    if options.counterfactuals:
        summary.update(run_counterfactuals(bundle, options.counterfactuals, options.seed + 100_000))
        bars.update(COUNTERFACTUAL_BARS)
    print()
    for name, value in summary.items():
        bar = " ".join(map(str, bars[name])) if name in bars else ""
        print(f"{name:36s}{value:10.3f}   {bar}")
    missed = failed_bars(summary, bars)
    print(f"\n{'all bars hold' if not missed else 'MISSED: ' + '; '.join(missed)}; {time.perf_counter() - start:.0f} s")
    if options.json:
        facts = {"arms": result["arms"], "summary": summary, "oracles": floors, "missed": missed}
        facts["spread"] = spread
        facts.update(model=bundle.model_id, weights_sha256=bundle.weights_sha256)
        facts.update(subjects=options.subjects, seed=options.seed)
        options.json.write_text(json.dumps(facts, indent=1) + "\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
