"""What each component of ECGFlowCMR adds, asked in two ways on the same held-out phantoms.

Knock-outs take one thing away from the finished model and train nothing: they say what it *uses*. Trained ablations
train the flow again with one thing taken out, on the run's own latents and ECGs, all with the same steps and batches,
and a transformer small enough for minutes: they say what is *needed*; their rows compare with each other only.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from COFGeneratorLib.ecgflowcmr.cycles import Cycles, padded_bounds
from COFGeneratorLib.ecgflowcmr.model import MOST_CYCLES, Amdf, EcgFlowModel
from COFGeneratorLib.ecgflowcmr.pa_mae import PaMae, prepare_record
from COFGeneratorLib.ecgflowcmr.transformer import RATE_SCALARS
from COFGeneratorLib.generator.bundle import Bundle

from COFTrainingLib.studies.ecgflowcmr.heldout import (
    HeldOutCase,
    arm_row,
    cines_of,
    draw_held_out,
    pair_tests,
    r_words,
    read_all,
    truth_of,
)
from COFTrainingLib.training.ecgflowcmr.settings import EcgFlowTraining
from COFTrainingLib.training.ecgflowcmr.stages import (
    assemble_ecgflow_model,
    examples_of,
    load_pa_mae,
    load_segmenter,
    load_vae,
)
from COFTrainingLib.training.ecgflowcmr.train_amdf import Beats, ClipLatents, Latents, flow_data, train_amdf

SEED = 7_700_000
PRE_TRAINED, NO_TEMPLATE = "pre-trained encoder, not fine-tuned", "no template (from noise alone)"


Condition = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class WithoutTokens(Amdf):
    """Hears no ECG tokens: neither cross-attention nor the mean token; rate and phenotypes remain."""

    def condition(self, signal: torch.Tensor, bounds: torch.Tensor, real: torch.Tensor) -> Condition:
        tokens, scalars, phase = super().condition(signal, bounds, real)
        return torch.zeros_like(tokens), scalars, phase


class WithoutPhenotypes(Amdf):
    """Is not told what the phenotype head reads."""

    def condition(self, signal: torch.Tensor, bounds: torch.Tensor, real: torch.Tensor) -> Condition:
        tokens, scalars, phase = super().condition(signal, bounds, real)
        return tokens, torch.cat([scalars[:, :RATE_SCALARS], torch.zeros_like(scalars[:, RATE_SCALARS:])], dim=1), phase


class WithoutRate(Amdf):
    """Is not told the heart rate, nor how it varies."""

    def condition(self, signal: torch.Tensor, bounds: torch.Tensor, real: torch.Tensor) -> Condition:
        tokens, scalars, phase = super().condition(signal, bounds, real)
        return tokens, torch.cat([torch.zeros_like(scalars[:, :RATE_SCALARS]), scalars[:, RATE_SCALARS:]], dim=1), phase


class WithoutScalars(Amdf):
    """Hears the tokens alone: neither rate nor phenotypes."""

    def condition(self, signal: torch.Tensor, bounds: torch.Tensor, real: torch.Tensor) -> Condition:
        tokens, scalars, phase = super().condition(signal, bounds, real)
        return tokens, torch.zeros_like(scalars), phase


@dataclass(frozen=True)
class Variant:
    """One row: its name, the settings it changes, the network it builds, and whether cycles begin at R."""

    name: str
    change: Callable[[EcgFlowTraining], EcgFlowTraining] = lambda config: config
    network: type[Amdf] = Amdf
    phased: bool = True


def _flow(**changes: Any) -> Callable[[EcgFlowTraining], EcgFlowTraining]:
    return lambda config: replace(config, amdf=replace(config.amdf, **changes))


def _no_head(config: EcgFlowTraining) -> EcgFlowTraining:
    network = replace(config.pa_mae.network, phenotypes=())
    return replace(config, pa_mae=replace(config.pa_mae, network=network))


VARIANTS = (
    Variant("full"),
    Variant("no phenotype head", _no_head),
    Variant("no phase (cycles begin anywhere)", phased=False),
    Variant(NO_TEMPLATE, _flow(template=False)),
    Variant("no ECG tokens (no cross-attention)", network=WithoutTokens),
    Variant("no scalars (rate, phenotypes)", network=WithoutScalars),
    Variant("encoder frozen", _flow(encoder_gradient=0.0, phase=0.0, phenotype=0.0)),
    Variant("plain loss (no weight on motion)", _flow(moving=0.0)),
    Variant("frames not aligned to tokens", _flow(aligned=False)),
)


def run_knock_outs(
    run: Path, config: EcgFlowTraining, *, subjects: int, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Judge the finished model of a run with one thing taken away at a time; nothing is trained.

    Returns one row a knock-out: ``name``, those of ``arm_row``, ``own_against_shuffled``.
    """
    model = assemble_ecgflow_model(run, config)
    whole, template = model.amdf, model.template
    muted = {
        "full": Amdf, "no phenotypes": WithoutPhenotypes, "no rate": WithoutRate, "no scalars": WithoutScalars,
        "no ECG tokens (cross-attention, alignment)": WithoutTokens,
    }  # fmt: skip
    changes: list[tuple[str, type[Amdf], bool]] = [(name, network, True) for name, network in muted.items()]
    changes += [("no phase (cycles begin anywhere)", Amdf, False), (PRE_TRAINED, Amdf, True)]
    changes.append((NO_TEMPLATE, Amdf, True))
    bundle = Bundle(run, {}, model, load_segmenter(run, config))
    cases, rows = [draw_held_out(SEED + index, bundle, config.data.body) for index in range(subjects)], []
    for name, network, phased in changes:
        model.amdf = network(load_pa_mae(run, config) if name == PRE_TRAINED else whole.pa_mae, whole.velocity)
        model.amdf.beat = whole.beat
        model.template = torch.zeros_like(template) if name == NO_TEMPLATE else template
        rows.append({"name": name, **_judged(bundle, cases, phased)})
        say(f"{name}: r(FAC) {rows[-1]['fac_r'][0]:.2f}, ES error {rows[-1]['es_mae_frames']:.2f} of 50")
    return rows


def run_ablations(
    run: Path, out: Path, config: EcgFlowTraining, *, steps: int, subjects: int, say: Callable[[str], None],
    variants: Sequence[Variant] = VARIANTS,
) -> list[dict[str, Any]]:  # fmt: skip
    """Train small flows, so many steps each, and judge every variant.

    Returns one row a variant: ``name``, those of ``arm_row``, ``own_against_shuffled``, ``parameters`` of the
    transformer.
    """
    config = _small(config, steps)
    examples, held_out = examples_of(run, config)
    vae, segmenter, encoder = load_vae(run, config), load_segmenter(run, config), load_pa_mae(run, config)
    data, kept = flow_data(encoder, vae, examples, held_out)
    cases: list[HeldOutCase] | None = None
    rows = []
    for number, variant in enumerate(variants):
        chosen = variant.change(config)
        parts = [_without_phase(part) if not variant.phased else part for part in (data, kept)]
        if not chosen.amdf.template:
            parts = [replace(part, latents=_no_template(part.latents)) for part in parts]
        pa_mae = PaMae(chosen.pa_mae.network)
        pa_mae.load_state_dict({name: encoder.state_dict()[name] for name in pa_mae.state_dict()})
        model, _ = train_amdf(out / f"{number:02d}", chosen, pa_mae, *parts, network=variant.network)
        latents = parts[0].latents
        whole = EcgFlowModel(
            config.data.grid, model, vae, latents.template, scale=latents.scale, defaults=config.amdf.sampler
        ).eval()
        bundle = Bundle(out, {}, whole, segmenter)
        if cases is None:
            cases = [draw_held_out(SEED + index, bundle, config.data.body) for index in range(subjects)]
        rows.append({"name": variant.name, **_judged(bundle, cases, variant.phased)})
        rows[-1]["parameters"] = sum(value.numel() for value in model.velocity.parameters())
        say(f"{variant.name}: r(FAC) {rows[-1]['fac_r'][0]:.2f}, ES error {rows[-1]['es_mae_frames']:.2f} of 50")
    return rows


def _small(config: EcgFlowTraining, steps: int) -> EcgFlowTraining:
    """Return the settings with a transformer of two narrow blocks and twice the patch, trained for ``steps``."""
    flow = config.amdf
    loop = replace(
        flow.loop, steps=steps, learning_rate=4e-3, warmup_steps=min(20, steps // 4), ema_decay=0.98,
        checkpoint_every=steps, log_every=steps,
    )  # fmt: skip
    side = config.data.grid.size // config.vae.network.factor
    patch = 2 * flow.patch if side % (2 * flow.patch) == 0 else flow.patch
    return replace(config, amdf=replace(flow, width=48, depth=2, heads=4, patch=patch, batch=8, loop=loop))


def _no_template(latents: Latents) -> Latents:
    return replace(latents, template=torch.zeros_like(latents.template))


def _without_phase(data: ClipLatents) -> ClipLatents:
    """Return the same data with every record's cycles moved by one random share of a cycle."""
    rng = np.random.default_rng(51)
    cycles = [Cycles(_moved(one.bounds, rng.random())) for one in data.beats.cycles]
    return replace(data, beats=Beats(data.beats.index, cycles))


def _moved(bounds: np.ndarray, share: float) -> np.ndarray:
    """Move cycles (n, 2) by a share of their length; the last one, which would leave the record, moves back."""
    moved = bounds + share * np.diff(bounds, axis=1)
    return moved[:-1] if len(moved) > 1 else bounds - share * np.diff(bounds, axis=1)


def _judged(bundle: Bundle, cases: list[HeldOutCase], phased: bool) -> dict[str, Any]:
    model, rng = bundle.model, np.random.default_rng(52)
    conditions = []
    for case in cases:
        signal = prepare_record(case.record)
        cycles = model.cycles(signal)
        if not phased:
            cycles = Cycles(_moved(cycles.bounds, rng.random()))
        bounds, real = padded_bounds([cycles], MOST_CYCLES)
        with torch.no_grad():
            conditions.append(model.amdf.condition(torch.from_numpy(signal)[None], bounds, real))
    tokens, scalars = (torch.cat([parts[place] for parts in conditions]) for place in (0, 1))
    other = np.roll(np.arange(len(cases)), 1)
    truth = truth_of(cases)
    found = {}
    for name, order in (("own", np.arange(len(cases))), ("shuffled", other)):
        found[name] = read_all(bundle, cines_of(bundle, tokens[order], scalars[order], seed=1), cases)
    ef = np.array([case.physiology.ef for case in cases])
    return {
        **arm_row(found["own"], truth, ef),
        "own_against_shuffled": pair_tests(found["own"], found["shuffled"], truth),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown."""
    lines = [
        "| flow | FAC error, points | r(FAC, true) | own nearer than shuffled, FAC "
        "| ES error, frames of 50 | r(ES, true) | own nearer than shuffled, ES |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        pairs = [row["own_against_shuffled"][name] for name in ("fac", "es")]
        told = [f"{pair['wins']} of {pair['wins'] + pair['losses']}" for pair in pairs]
        fac, es = (r_words(row[name]) for name in ("fac_r", "es_r"))
        cells = [f"{row['fac_mae_points']:.1f}", fac, told[0], f"{row['es_mae_frames']:.2f}", es, told[1]]
        lines.append(f"| {row['name']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
