"""ECGFlowCMR on held-out phantoms: cycle boundaries, end-systole and contraction by arm, counterfactual heart rate.

    python Testing/Benchmarks/ecgflowcmr_heldout.py --run RUN [--subjects 64] [--json FILE] [--sheet PNG]

RUN is a finished run of `cof train ecgflowcmr`; its bundle's weights are what is measured. `--only boundaries` needs
the stage pa-mae alone. Real ECGs are read from ../shared/data/ecg where it is there, or from --ecgs.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "COFGenerator"), str(ROOT / "COFTraining")]
SUFFIXES = {".xml", ".dcm", ".scp", ".hea", ".mat", ".csv", ".edf"}
PARTS = ("boundaries", "arms", "rate", "speed", "frechet", "curve")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--subjects", type=int, default=64)
    parser.add_argument("--seed", type=int, default=7_500_000)
    parser.add_argument("--records", type=int, default=60, help="phantom ECGs of each rhythm")
    parser.add_argument("--rates", type=int, default=16, help="subjects of the counterfactual heart rate")
    parser.add_argument("--ecgs", type=Path, default=ROOT.parent / "shared" / "data" / "ecg")
    parser.add_argument("--only", choices=PARTS, action="append")
    parser.add_argument("--guidance", type=float, nargs="*", default=[1.0, 2.0, 3.0], help="of the part curve")
    parser.add_argument("--alpha", type=float, nargs="*", default=[1.0, 0.5, 0.0], help="of the part curve")
    parser.add_argument("--paper-size", action="store_true", help="part speed: also one forward of the paper's size")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()
    wanted = options.only or PARTS

    from COFTrainingLib.training.ecgflowcmr.export import export_ecgflow, settings_of
    from COFTrainingLib.training.ecgflowcmr.stages import load_pa_mae

    config = settings_of(options.run)
    facts: dict = {"run": config.data.grid.plane, "subjects": options.subjects, "seed": options.seed}
    with tempfile.TemporaryDirectory() as folder:
        if set(wanted) - {"boundaries"}:
            from COFGeneratorLib.ecgflowcmr.bundle import load_ecgflow_bundle

            bundle = load_ecgflow_bundle(export_ecgflow(options.run, Path(folder) / "bundle"))
            facts["weights_sha256"] = bundle.weights_sha256
            encoders = {"pre-trained": load_pa_mae(options.run, config), "fine-tuned": bundle.model.amdf.pa_mae}
        else:
            encoders = {"pre-trained": load_pa_mae(options.run, config)}
        if "boundaries" in wanted:
            facts["boundaries"] = {name: _boundaries(model, options) for name, model in encoders.items()}
        if set(wanted) & {"arms", "frechet"}:
            facts |= _arms(bundle, config, options, "frechet" in wanted)
        if "rate" in wanted:
            from COFTrainingLib.studies.ecgflowcmr.heldout import run_counterfactual_rate

            rate = run_counterfactual_rate(bundle, options.rates, options.seed + 50_000, config.data.body)
            facts["counterfactual_rate"] = rate
            print("\ncounterfactual rate:", json.dumps({k: round(v, 2) for k, v in rate.items()}))
        if "curve" in wanted:
            from COFTrainingLib.studies.ecgflowcmr.heldout import run_curve

            both = [(guidance, 1.0) for guidance in options.guidance]
            both += [(1.0, alpha) for alpha in options.alpha if (1.0, alpha) not in both]
            facts["curve"] = run_curve(bundle, options.subjects, options.seed, config.data.body, both)
        if "speed" in wanted:
            facts["speed"] = _speed(bundle, options.paper_size)
    facts["table"] = table(facts)
    print("\n" + facts["table"])
    if options.json:
        options.json.write_text(json.dumps(facts, indent=1) + "\n")
    return 0


def _boundaries(model, options) -> dict:
    from COFTrainingLib.studies.ecgflowcmr.rhythm_check import phantom_boundaries, real_boundaries

    out = {"phantoms": phantom_boundaries(model.cpu(), options.records, options.seed)}
    files = sorted(path for path in options.ecgs.rglob("*") if path.suffix.lower() in SUFFIXES)
    headers = {path.with_suffix("") for path in files if path.suffix == ".hea"}
    files = [path for path in files if path.suffix != ".mat" or path.with_suffix("") not in headers]
    out["real"] = real_boundaries(model, files, lambda text: print(text, file=sys.stderr))
    for group in out.values():
        for name, row in group.items():
            print(f"{name:32s}" + "  ".join(f"{key} {value:.2f}" for key, value in row.items()))
    return out


def _arms(bundle, config, options, frechet: bool) -> dict:
    from COFTrainingLib.studies.ecgflowcmr.heldout import run_heldout
    from COFTrainingLib.training.ecgflowcmr.data import Examples

    clips = Examples.load(options.run / "data" / "train.safetensors").clips
    said = lambda text: print(text, file=sys.stderr, flush=True)  # noqa: E731
    result = run_heldout(bundle, options.subjects, options.seed, config.data.body, clips, said)
    cines = result.pop("cines")
    if options.sheet:
        _sheet(cines, options.sheet)
    if frechet:
        result["frechet"] = _frechet(bundle, cines, clips)
    return result


def _frechet(bundle, cines, clips) -> dict:
    """Fréchet distance of mean features of the plane segmenter's deepest level, and the floor of two real halves."""
    import torch
    from COFTrainingLib.evaluation.metrics.distribution import frechet

    def features(items):
        out = []
        with torch.no_grad():
            for cine in items:
                x = torch.as_tensor(np.asarray(cine)).float()[:, None]
                x = x / 255.0 if x.max() > 1.5 else x
                for index, level in enumerate(bundle.segmenter.down):
                    x = level(torch.nn.functional.avg_pool2d(x, 2) if index else x)
                frames = x.mean(dim=(2, 3))
                out.append(torch.cat([frames.mean(dim=0)[:16], frames.diff(dim=0).abs().mean(dim=0)[:16]]).numpy())
        return np.stack(out)

    count = len(cines["true"])
    real, other = features(cines["true"]), features(clips[:count].numpy())
    rows = {"real, other subjects": frechet(real, other)}
    rows |= {arm: frechet(real, features(cines[arm])) for arm in ("own", "shuffled", "no ECG")}
    return {**{name: float(value) for name, value in rows.items()}, "n": count, "d": real.shape[1]}


def _speed(bundle, paper: bool) -> dict:
    import torch

    model = bundle.model
    config = model.amdf.velocity.config
    shape = (1, config.latent, config.frames, config.side, config.side)
    tokens, scalars = torch.randn(1, config.ecg_tokens, config.ecg), torch.zeros(1, config.scalars)
    times = {}
    with torch.no_grad():
        for name, work in (
            ("one_forward_s", lambda: model.amdf(torch.randn(shape), torch.rand(1), tokens, scalars)),
            ("clip_s", lambda: model.decode(model.sample(tokens, scalars))),
        ):
            work()
            begin = time.perf_counter()
            for _ in range(5):
                work()
            times[name] = (time.perf_counter() - begin) / 5
    times["threads"] = torch.get_num_threads()
    if paper:
        times["paper_forward_s"] = _paper_forward()
    print("\nspeed:", json.dumps(times))
    return times


def _paper_forward() -> float:
    """Return seconds of one forward of the paper's transformer, weights random: its size is what costs."""
    import torch
    from COFGeneratorLib.ecgflowcmr.transformer import VelocityTransformer
    from COFTrainingLib.training.ecgflowcmr.settings import read_settings

    config = read_settings("ecgflowcmr").dit()
    network = VelocityTransformer(config).eval()
    z = torch.randn(1, config.latent, config.frames, config.side, config.side)
    with torch.no_grad():
        begin = time.perf_counter()
        network(z, torch.rand(1), torch.randn(1, config.ecg_tokens, config.ecg), torch.zeros(1, config.scalars))
    return time.perf_counter() - begin


def _sheet(cines, path: Path) -> None:
    """Write twelve subjects, five phases each: real above, generated from its own ECG below."""
    from PIL import Image

    def strip(cine):
        array = np.asarray(cine, dtype=np.float32)
        array = array * 255.0 if array.max() <= 1.5 else array
        chosen = np.linspace(0, len(array), 5, endpoint=False).astype(int)
        tiles = [np.asarray(Image.fromarray(array[f].astype(np.uint8)).resize((128, 128), 2)) for f in chosen]
        return np.hstack(tiles)

    pairs = [np.vstack([strip(cines["true"][n]), strip(cines["own"][n])]) for n in range(min(12, len(cines["own"])))]
    rows = [np.hstack(pairs[at : at + 2]) for at in range(0, len(pairs) - 1, 2)]
    Image.fromarray(np.vstack(rows)).save(path)


def table(facts: dict) -> str:
    """Return what was measured as Markdown."""
    from COFTrainingLib.studies.ecgflowcmr.heldout import r_words

    lines = []
    if "arms" in facts:
        lines += [
            f"{len(facts['subject_values']['ef'])} held-out phantoms.",
            "",
            "| arm | FAC error, points | r(FAC, true) | ES error, frames of 50 | r(ES, true) | AUC of EF < 50 % |",
            "|---|---|---|---|---|---|",
        ]
        for arm, row in facts["arms"].items():
            cells = [f"{row['fac_mae_points']:.1f}", r_words(row["fac_r"]), f"{row['es_mae_frames']:.2f}",
                     r_words(row["es_r"]), f"{row['weak_auc']:.2f}"]  # fmt: skip
            lines.append(f"| {arm} | " + " | ".join(cells) + " |")
        if facts.get("reading"):
            told = facts["reading"]
            lines.append("")
            lines.append(
                f"The phenotype head alone, from the ECG: EF to {told['ef_mae_points']:.1f} points (median of all: "
                f"{told['constant_mae_points']:.1f}), r {r_words(told['ef_r'])}, "
                f"AUC of EF < 50 % {told['weak_auc']:.2f}."
            )
        for name, pair in facts["own_against_shuffled"].items():
            lines.append("")
            lines.append(
                f"Own against shuffled ECG, {name.upper()}: {pair['wins']} wins, {pair['losses']} losses, sign test "
                f"p = {pair['p_sign']:.2g}."
            )
    if "counterfactual_rate" in facts:
        rate = facts["counterfactual_rate"]
        lines.append("")
        lines.append(
            f"Heart rate {rate['slow_bpm']:.0f} → {rate['fast_bpm']:.0f}/min moves end-systole by "
            f"{rate['shift_frames']:+.1f} ± {rate['shift_sd']:.1f} frames of 50 (true "
            f"{rate['true_shift_frames']:+.1f}; right direction in {100 * rate['right_direction']:.0f} % of "
            f"{rate['subjects']} subjects)."
        )
    if "curve" in facts:
        lines += ["", "| guidance | α | FAC error, points | r(FAC, true) | ES error, frames of 50 | r(ES, true) |"]
        lines.append("|---|---|---|---|---|---|")
        for row in facts["curve"]:
            lines.append(
                f"| {row['guidance']:g} | {row['alpha']:g} | {row['fac_mae_points']:.1f} | {r_words(row['fac_r'])} | "
                f"{row['es_mae_frames']:.2f} | {r_words(row['es_r'])} |"
            )
    if "boundaries" in facts:
        lines += ["", *_boundary_lines(facts["boundaries"])]
    return "\n".join(lines)


def _boundary_lines(found: dict) -> list[str]:
    """Return the rows of the cycle boundaries: phantom rhythms, and the real records together."""
    lines = [
        "| cycle boundaries against R | beats | median | 95 % | within 20 ms | missed | extra |",
        "|---|---|---|---|---|---|---|",
    ]
    for encoder, groups in found.items():
        rows = dict(groups["phantoms"])
        for name, row in rows.items():
            lines.append(_boundary_row(f"{encoder}, phantoms, {name}", row))
        for name, row in groups["real"].items():
            if row["within_20_ms"] < 1.0 or row["missed"]:
                lines.append(_boundary_row(f"{encoder}, real record {name}", row))
        good = [row for row in groups["real"].values() if row["within_20_ms"] == 1.0 and not row["missed"]]
        beats = sum(row["beats"] for row in good)
        lines.append(f"| {encoder}, {len(good)} of {len(groups['real'])} real records | {beats} | | | 100 % | 0 | "
                     f"{sum(row['extra'] for row in good)} |")  # fmt: skip
    return lines


def _boundary_row(name: str, row: dict) -> str:
    return (
        f"| {name} | {row['beats']} | {row['median_ms']:.1f} ms | {row['p95_ms']:.1f} ms | "
        f"{100 * row['within_20_ms']:.0f} % | {row['missed']} | {row['extra']} |"
    )


if __name__ == "__main__":
    sys.exit(main())
