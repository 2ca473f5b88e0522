"""Hard cases: the page for a reader, and the file that is read back."""

import re

import numpy as np
import pytest
from COFGeneratorLib.errors import CohortError
from COFTrainingLib.evaluation.plan import Plan
from COFTrainingLib.evaluation.protocols import failures
from COFTrainingLib.evaluation.protocols.review import MODES, HardCase, read_review, review_file, review_page
from COFTrainingLib.evaluation.run import CINE, REFERENCE
from COFTrainingLib.evaluation.store import Store

ECG = {"hr_bpm": 60.0, "rr_ms": 1000.0, "pr_ms": 160.0, "qrsd_ms": 90.0, "qt_ms": 400.0, "sokolow_mv": 2.0,
       "p_wave_present": True, "rr_cv": 0.02}  # fmt: skip


@pytest.fixture
def store(tmp_path):
    """Twelve subjects of a method, one of them far off in EF and one in anatomy."""
    kept = Store(tmp_path / "store")
    for n in range(12):
        ef, dice = (-30.0 if n == 3 else 0.1 * n), (0.4 if n == 7 else 0.9 + 0.001 * n)
        metrics = {"ef_error_points": ef, "dice_macro": dice, "valid": 1.0, "es_error_frames": 1.0}
        name = f"s{n}<b>" if n == 3 else f"s{n}"
        kept.add({"subject": name, "method": "m", "kind": CINE, "identity": "", "metrics": metrics, "slices": []})
        kept.add({"subject": name, "method": REFERENCE, "kind": REFERENCE, "identity": "", "metrics": {}, "ecg": ECG,
                  "facts": {}})  # fmt: skip
    return kept


def plan(**options):
    return Plan(None, tuple(f"s{n}" for n in range(12)), **options)


def test_the_page_asks_for_every_hard_case_and_escapes_names(store):
    section = failures.summarise(plan(), store)
    page = section.pages["review.html"]
    assert section.numbers["hard"] == 4  # the worst two of EF, s3 and s11, and of Dice, s7 and s0
    assert page.count("<section data-subject=") == 4
    assert "s3&lt;b&gt;" in page
    assert "s3<b>" not in page
    assert not re.search(r'(src|href)="(https?:)?//', page)
    assert page.index("s3&lt;b&gt;") < page.index('data-subject="s7"')  # the largest EF error first


def test_a_review_is_counted_beside_the_rule(store, tmp_path):
    path = tmp_path / "review.csv"
    path.write_text("subject,mode,note\ns3<b>,Under-contraction,\ns7,anatomy collapse,blurred\n", encoding="utf-8")
    section = failures.summarise(plan(review=path), store)
    assert section.numbers["modes_by_reader"] == {"under-contraction": 1, "anatomy collapse": 1}
    modes = {row[0]: row[1:] for row in section.tables[0].rows}
    assert modes["anatomy collapse"][2:] == (1, "50.0")
    assert modes["not reviewed"][2:] == (2, "–")
    assert "named the mode of 2 of 4; the rule says the same in 2" in " ".join(section.text)
    assert section.pages["review.html"].count(" checked>") == 2


def test_without_a_review_nothing_is_claimed_of_a_reader(store):
    section = failures.summarise(plan(), store)
    assert all(row[3] == "–" for row in section.tables[0].rows)
    assert section.numbers["modes_by_reader"] == {}


def test_a_file_that_is_no_review_is_refused(tmp_path):
    path = tmp_path / "review.csv"
    path.write_text("subject,mode\na,strange\n", encoding="utf-8")
    with pytest.raises(CohortError, match="one of anatomy collapse"):
        read_review(path)
    path.write_text("who,what\na,b\n", encoding="utf-8")
    with pytest.raises(CohortError, match="columns subject and mode"):
        read_review(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CohortError, match="reading"):
        read_review(path)
    with pytest.raises(CohortError, match="found none"):
        review_file(str(tmp_path / "gone.csv"), tmp_path)


def test_the_review_beside_a_report_is_found(tmp_path):
    assert review_file(None, tmp_path) is None
    (tmp_path / "review.csv").write_text("subject,mode,note\na,,\n", encoding="utf-8")
    assert review_file(None, tmp_path) == (tmp_path / "review.csv").resolve()
    assert read_review(tmp_path / "review.csv") == {}


def test_every_mode_of_the_rule_can_be_named_by_a_reader():
    found = {failures.dominant_mode(*numbers) for numbers in np.ndindex(1, 1, 1, 1)}
    values = [(-20.0, 0.9, 1.0, 1), (20.0, 0.9, 1.0, 1), (0.0, 0.9, 1.0, 1), (0.0, 0.5, 1.0, 1), (0.0, 0.9, 0.5, 1)]
    found |= {failures.dominant_mode(*numbers) for numbers in values}
    assert found == set(MODES)
    assert all(mode in review_page("t", [HardCase("a", mode, "")], {}) for mode in MODES)
