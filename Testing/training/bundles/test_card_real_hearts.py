"""What the bench on real hearts measured, as a model card states it."""

from COFTrainingLib.training.bundles.card_real_hearts import real_hearts_figures

REPORT = {
    "segmenter": {
        "rows": [
            {"case": "A", "phase": "ed", "lv": 0.914, "myo": 0.7, "rv": float("nan"), "volume_ml": 136.1,
             "truth_ml": 156.5, "held_to_bars": True},
            {"case": "B", "phase": "es", "held_to_bars": False},
        ],
        "short": ["segmenter: A ED LVEDV off by -13.0 %"],
    },
    "localiser": {
        "rows": [{"centre_error_mm": 1.0}, {"centre_error_mm": 6.8}],
        "refused": {"noise": True, "bottle": False},
        "short": [],
    },
    "assessor": {
        "rows": [{}, {}],
        "means": {"assessor": {"lv": 0.9, "myo": 0.65, "rv": None}, "segmenter": {"lv": 0.92, "myo": 0.75, "rv": 0.8}},
        "short": [],
    },
}  # fmt: skip


def test_a_card_shows_every_section_and_every_bar_that_was_missed():
    text = "\n\n".join(real_hearts_figures(REPORT))
    assert "| A | ED | 0.91 | 0.70 | – | 136 (156) |" in text
    assert "| B | ES | – | – | – | refused |" in text
    assert "Held to bars: A." in text
    assert "at most 6.8 mm off in 2 stacks" in text
    assert "1 of 2 stacks without a heart" in text
    assert "LV / myocardium / RV 0.90 / 0.65 / – over 2 labelled phases" in text
    assert text.endswith("Bars missed: segmenter: A ED LVEDV off by -13.0 %.")


def test_a_card_without_such_figures_says_nothing_of_them():
    assert real_hearts_figures(None) == []


def test_an_assessor_that_was_not_there_is_said():
    found = real_hearts_figures({"assessor": {"rows": [], "skipped": "no assessor", "short": []}})
    assert any("none was there" in part for part in found)
