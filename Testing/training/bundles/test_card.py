"""Model cards: what ships, and what the bench on real hearts measured as a card states it."""

import json
from pathlib import Path

from COFTrainingLib.training.bundles import card as of_a_bundle
from COFTrainingLib.training.publishing import card

TEMPLATE = Path(of_a_bundle.__file__).with_name("card_real_hearts.md.j2")

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
    text = card(TEMPLATE, real_hearts=REPORT)
    assert "| A | ED | 0.91 | 0.70 | – | 136 (156) |" in text
    assert "| B | ES | – | – | – | refused |" in text
    assert "Held to bars: A." in text
    assert "at most 6.8 mm off in 2 stacks" in text
    assert "1 of 2 stacks without a heart" in text
    assert "LV / myocardium / RV 0.90 / 0.65 / – over 2 labelled phases" in text
    assert text.endswith("Bars missed: segmenter: A ED LVEDV off by -13.0 %.\n")


def test_the_card_that_ships_is_what_its_metadata_say(repository):
    folder = repository / "Resources" / "Models" / "cof-plus"
    metadata = json.loads((folder / "configs" / "metadata.json").read_text("utf-8"))
    paths = [folder / "docs" / name for name in ("metrics.json", "real_hearts.json")]
    metrics, real_hearts = (json.loads(path.read_text("utf-8")) if path.is_file() else None for path in paths)
    commands = metadata["training"]["commands"]
    written = of_a_bundle.write_card(metadata, commands, metrics, real_hearts)
    assert written == (folder / "docs" / "README.md").read_text("utf-8")
    assert "Real hearts" not in of_a_bundle.write_card(metadata, commands, metrics)


def test_a_figure_that_does_not_exist_is_a_dash(repository):
    """A heart that stands still has no end-systole."""
    metadata = json.loads((repository / "Resources/Models/cof-plus/configs/metadata.json").read_text("utf-8"))
    arms = {
        "copy anchor": {"ef_mae_points": 58.29, "es_error_frames": float("nan")},
        "centre": {"es_error_frames": 0.4},
    }
    text = of_a_bundle.write_card(metadata, [], {"arms": arms})
    assert "| copy anchor | 58.29 | – |" in text
    assert "| centre | – | 0.40 |" in text


def test_an_assessor_that_was_not_there_is_said():
    text = card(TEMPLATE, real_hearts={"assessor": {"rows": [], "skipped": "no assessor", "short": []}})
    assert "none was there" in text
    assert text.endswith("Bars missed: none.\n")
