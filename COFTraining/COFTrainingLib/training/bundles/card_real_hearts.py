"""What ``Testing/Benchmarks/real_hearts.py`` measured, as tables of a model card."""

from typing import Any


def real_hearts_figures(report: dict[str, Any] | None) -> list[str]:
    """Return the paragraphs of a card, none without a report.

    Args:
        report: The bench's JSON: one entry a section, each with ``rows``, ``bars``, and ``short``, the bars it misses.
    """
    if not report:
        return []
    parts = [
        "## Real hearts",
        "`python Testing/Benchmarks/real_hearts.py --cases FILE --json FILE`: recordings that no network was trained "
        "on. Their labels are experts' or other networks'; no MRI belongs to the person of an ECG.",
    ]
    for name, write in (("segmenter", _segmenter), ("localiser", _localiser), ("teacher", _teacher),
                        ("generation", _generation), ("assessor", _assessor)):  # fmt: skip
        if name in report:
            parts.append(write(report[name]))
    missed = [line for section in report.values() for line in section["short"]]
    parts.append("Bars missed: " + ("; ".join(missed) if missed else "none") + ".")
    return parts


def _rows(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows))


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None or value != value else f"{value:.{digits}f}"


def _segmenter(section: dict[str, Any]) -> str:
    rows = [
        [row["case"], row["phase"].upper(), *(_number(row.get(name)) for name in ("lv", "myo", "rv")),
         f"{row['volume_ml']:.0f} ({row['truth_ml']:.0f})" if "truth_ml" in row else "refused"]
        for row in section["rows"]
    ]  # fmt: skip
    table = _rows(["segmenter, Dice", "phase", "LV", "myocardium", "RV", "LV volume, mL (labels)"], rows)
    held = ", ".join(sorted({row["case"] for row in section["rows"] if row["held_to_bars"]}))
    return f"{table}\n\nHeld to bars: {held}."


def _localiser(section: dict[str, Any]) -> str:
    errors = [row["centre_error_mm"] for row in section["rows"]]
    refused = sum(section["refused"].values())
    return (
        f"Localiser: the heart's centre is at most {max(errors):.1f} mm off in {len(errors)} stacks as they are, "
        f"turned, flipped, shifted or mirrored; {refused} of {len(section['refused'])} stacks without a heart are "
        "refused."
    )


def _teacher(section: dict[str, Any]) -> str:
    rows = []
    for pair, methods in section["pairs"].items():
        for method, row in methods.items():
            ef = f"{row['ef_percent']:.1f} ({row['ef_true_percent']:.1f})"
            folded = _number(row["folded_percent"], 3)
            rows.append([pair, method, _number(row["dice"], 3), ef, folded, _number(row["seconds"])])
    return _rows(["registration ED → ES", "method", "mean Dice", "EF, % (labels)", "folded %", "s"], rows)


def _generation(section: dict[str, Any]) -> str:
    names = list(section["rows"][0]["ecgs"]) if section["rows"] else []
    rows = [
        [row["case"], *(f"{row['ecgs'][name]['ef_percent']:.0f} / {_number(row['ecgs'][name]['rv_ef_percent'], 0)}"
                        for name in names)]
        for row in section["rows"]
    ]  # fmt: skip
    return _rows(["generation, EF of LV / RV, %", *names], rows)


def _assessor(section: dict[str, Any]) -> str:
    if not section.get("means"):
        return "Assessor: none was there to be measured."
    found = {
        source: " / ".join(_number(section["means"][source][name]) for name in ("lv", "myo", "rv"))
        for source in ("assessor", "segmenter")
    }
    return (
        "Assessor, the independent network that judges images in evaluations and has no part in the model: mean Dice "
        f"of LV / myocardium / RV {found['assessor']} over {len(section['rows'])} labelled phases, given where the "
        f"heart lies; the segmenter, which has to find it, {found['segmenter']}."
    )
