"""The numbers of the page and what a reader must know of them, in words."""

from dataclasses import dataclass

import numpy as np

from COFGeneratorLib.cine import Cine
from COFGeneratorLib.figures.preview import LABELS_FROM
from COFGeneratorLib.function import FunctionReport, findings


@dataclass(frozen=True)
class ReadOut:
    """One number: its name, value and unit, and the chamber that gives its colour."""

    name: str
    value: str
    unit: str
    chamber: str = ""


def ef(report: FunctionReport | None) -> tuple[str, str]:
    """Return EF and its 90 % interval as they are written; empty where not known."""
    if report is None:
        return "", ""
    interval = report.ef_interval_percent
    return f"{report.ef_percent:.0f}", f"90 %: {interval[0]:.0f} – {interval[1]:.0f} %" if interval else ""


def read_outs(cine: Cine) -> list[ReadOut]:
    """Return what was measured, LV first; several draws give a spread."""
    rate = ReadOut("Heart rate", f"{60000.0 / cine.rr_ms:.0f}", "bpm")
    report = cine.function
    if report is None:
        return [rate]

    def with_spread(name: str) -> str:
        draws = [getattr(draw, name) for draw in cine.samples]
        spread = f" ± {np.std(draws, ddof=1):.0f}" if len(draws) > 1 else ""
        return f"{getattr(report, name):.0f}{spread}"

    rows = [ReadOut(words, with_spread(name), "mL", "lv")
            for words, name in (("EDV", "edv_ml"), ("ESV", "esv_ml"), ("Stroke volume", "sv_ml"))]  # fmt: skip
    rows.append(ReadOut("Cardiac output", f"{report.co_l_min:.1f}", "L/min", "lv"))
    mass_g = report.myocardial_mass_g[report.ed_frame]
    if mass_g > 0:
        rows.append(ReadOut("LV mass", f"{mass_g:.0f}", "g", "wall"))
    if np.isfinite(report.es_time_ms):
        rows.append(ReadOut("End-systole", f"{report.es_time_ms:.0f}", "ms", "lv"))
    if np.isfinite(report.rv_ef_percent):
        rows += [ReadOut("RV EDV", f"{report.rv_edv_ml:.0f}", "mL", "rv"),
                 ReadOut("RV EF", f"{report.rv_ef_percent:.0f}", "%", "rv")]  # fmt: skip
    return [*rows, rate]


def notes(cine: Cine) -> list[str]:
    """Return every reservation once: those of the statement of EF, of the read-outs, and of the computation."""
    said = [] if cine.function is None else [*cine.function.ef_notes, *findings(cine.function)]
    return list(dict.fromkeys([*said, *cine.provenance.get("warnings", ())]))


def origin(cine: Cine) -> list[str]:
    """Return where labels, model and draw come from."""
    model, seed = cine.provenance.get("model"), cine.provenance.get("seed")
    facts = [LABELS_FROM.get(cine.labels_from, ""), str(model or ""), "" if seed is None else f"seed {seed}"]
    return [fact for fact in [*facts, f"{len(cine.time_ms)} frames"] if fact]
