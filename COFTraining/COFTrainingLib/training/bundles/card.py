"""The model card of a bundle, written from nothing but its metadata."""

from typing import Any

from COFTrainingLib.training.bundles.card_real_hearts import real_hearts_figures

TITLES = {
    "ef_mae_points": "EF, mean absolute error (points)",
    "ef_bias_points": "EF, bias (points)",
    "es_error_frames": "End-systole, error (frames of 50)",
    "es_argmin_error_frames": "End-systole by argmin, error (frames of 50)",
    "curve_rmse_ml": "LV volume curve, RMSE (mL)",
    "folded_percent": "Folded voxels (%)",
}
SYNTHETIC_LIMIT = (
    "It was trained on synthetic hearts and has seen no patient. On real anchors its motion is a physiologically "
    "plausible hypothesis, not a measurement."
)
RECORDED_LIMIT = (
    "It learnt motion as a registration saw it in recorded cines; what the registration missed, it misses. It speaks "
    "for people like those of its cohort; on others its motion is a hypothesis, not a measurement."
)
LIMITS = (
    "It moves what the anchor shows: a wrong segmentation gives a wrong heart. Scar, valves and flow are not modelled.",
    "The ECG tells ejection fraction only as far as an ECG can; the floor is stated beside the figures where they are.",
    "Pacing, congenital disease and arrhythmia other than atrial fibrillation are outside what it was trained on.",
)


def write_card(
    metadata: dict[str, Any],
    commands: list[str],
    figures: dict[str, Any] | None,
    real_hearts: dict[str, Any] | None = None,
) -> str:
    """Return the card in Markdown.

    Args:
        metadata: The bundle's.
        commands: That train it again.
        figures: What ``--metrics`` gave, or None.
        real_hearts: What ``Testing/Benchmarks/real_hearts.py --json`` wrote, or None.
    """
    training, cof = metadata["training"], metadata["cof"]
    grid = cof["grid"]
    parts = [
        f"# {metadata['name']} {metadata['version']}",
        metadata["description"],
        f"**Intended use.** {metadata['intended_use']}",
        "## Trained on",
        _table([
            ("cohort", f"{training['cohort']} ({training['kind']})"),
            ("licence of the cohort", training["licence"]),
            ("manifest SHA-256", training["manifest_sha256"] or "none: drawn by the configuration"),
            *_subjects(training),
            ("used", f"{training['used_for_training']} to train, {training['used_for_validation']} to validate"),
            ("optimiser steps", _pairs(training["steps"])),
            ("seeds of the training", _pairs(training["seeds"])),
            ("gain on motion", _gain(training["gain"])),
            ("ejection fraction", _ejection(cof.get("ef_z90"), cof.get("ef_shift", 0.0))),
            ("segmenter", _segmenter(metadata)),
            ("registration teacher", _teacher(metadata)),
            ("versions", _pairs(training["versions"])),
        ]),
        "## Motion grid",
        _table([
            ("nodes", " × ".join(map(str, grid["shape"]))),
            ("spacing (mm)", " × ".join(map(str, grid["spacing_mm"]))),
            ("phases of a cycle", str(grid["phases"])),
            ("sampler", _pairs(cof["sampler"])),
            ("networks", ", ".join(name for name in ("ecg", "mean", "flow", "segmenter", "teacher") if cof.get(name))),
        ]),
        "## Figures",
        _figures(figures),
        *real_hearts_figures(real_hearts),
        "## Limits",
        "\n".join(f"- {limit}" for limit in (RECORDED_LIMIT if "motion" in training else SYNTHETIC_LIMIT, *LIMITS)),
        "## Train it again",
        "With `docs/configuration.json` of this bundle copied beside:\n\n```\n" + "\n".join(commands) + "\n```",
        f"## Licence\n\n{metadata['licence']}. Research use only; not a medical device.",
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _table(rows: list[tuple[str, str]]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def _pairs(facts: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def _subjects(training: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the rows that say whom it was trained on: the seeds of phantoms, or how recorded motion was found."""
    if "motion" not in training:
        prevalence = ", ".join(f"{name} {share:g}" for name, share in training["prevalence"].items())
        return [("seeds of the subjects", f"{training['first_seed']} … {training['last_seed']}"),
                ("prevalence", prevalence)]  # fmt: skip
    motion = training["motion"]
    weights = "".join(f", {name} {digest[:12]}…" for name, digest in motion["networks"].items() if digest)
    labels = ", ".join(f"{count} from the {source}" for source, count in motion["labels_from"].items())
    return [
        ("motion found by", f"{motion['source']}{weights}"),
        ("labels of the anchors", labels),
        ("agreement of the registration", f"{motion['registration_confidence']:.2f}"),
        ("subjects without an example", str(motion["left_out"])),
    ]


def _gain(gain: dict[str, Any]) -> str:
    if not gain["subjects"]:
        return "1 (none fitted)"
    if gain["first_seed"] is None:
        return f"{gain['value']:.4f}, fitted on {gain['subjects']} validation subjects"
    return f"{gain['value']:.4f}, fitted on {gain['subjects']} subjects from seed {gain['first_seed']}"


def _ejection(z90: float | None, shift: float) -> str:
    if z90 is None:
        return "as the motion networks make it"
    width = f"90 % interval ± {z90:.2f} of its SD (split conformal)"
    return f"as the ECG encoder states it, {100 * shift:+.1f} points; {width}"


def _segmenter(metadata: dict[str, Any]) -> str:
    facts = metadata.get("segmenter")
    if not facts:
        return "none: labels of the anchor must be given"
    steps = ", ".join(f"{scale} {part['steps']} steps" for scale, part in facts.items() if isinstance(part, dict))
    return f"{facts.get('trained_on', 'see its provenance')}{f'; {steps}' if steps else ''}"


def _teacher(metadata: dict[str, Any]) -> str:
    facts = metadata.get("teacher")
    if not facts:
        return "none: real cines are registered by SimpleITK's demons"
    pairs = facts["pairs"]
    if pairs.get("first_seed") is None:
        return f"{facts['steps']} steps"
    return f"{facts['steps']} steps on {pairs['subjects']} phantoms from seed {pairs['first_seed']}"


def _figures(figures: dict[str, Any] | None) -> str:
    """Return the measured arms as a table, with what they were measured on."""
    if not figures:
        return "None were given with the export (`--metrics`)."
    arms = figures.get("arms", {})
    columns = [name for name in TITLES if any(name in row for row in arms.values())]
    head = f"Held-out phantoms: {figures.get('subjects', '?')} subjects, seed {figures.get('seed', '?')}."
    lines = ["| arm | " + " | ".join(TITLES[name] for name in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for arm, row in arms.items():
        lines.append(f"| {arm} | " + " | ".join(f"{row[name]:.2f}" if name in row else "" for name in columns) + " |")
    parts = [head, "\n".join(lines)]
    if figures.get("oracles"):
        floors = ", ".join(f"{name} {value:.2f}" for name, value in figures["oracles"].items())
        parts.append(f"Error floors of the generator's own parameters: {floors}.")
    if figures.get("missed"):
        parts.append("Bars missed: " + "; ".join(figures["missed"]) + ".")
    return "\n\n".join(parts)
