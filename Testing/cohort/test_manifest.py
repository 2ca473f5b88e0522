"""The manifest: what is written is read, and what cannot be right is refused."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from COFGeneratorLib.errors import CohortError
from COFTrainingLib.cohort.manifest import MANIFEST, Cohort, CohortHeader, Subject, read_cohort, write_cohort
from COFTrainingLib.cohort.splits import SplitRule
from hypothesis import given
from hypothesis import strategies as st


def small(tmp_path) -> Cohort:
    rule = SplitRule()
    names = ("a", "b-Ä", "c")
    subjects = tuple(
        Subject(name, name, rule.split_of(name), {"anchor": f"x/{name}.nrrd"}, {"age": 61}) for name in names
    )
    return Cohort(tmp_path, CohortHeader("small", "table", "CC0", needs=("anchor", ("labels", "cine"))), subjects)


def test_a_manifest_reads_back_as_it_was_written(tmp_path):
    cohort = small(tmp_path)
    write_cohort(cohort)
    assert read_cohort(tmp_path) == cohort
    assert read_cohort(tmp_path / MANIFEST).fingerprint() == cohort.fingerprint()


def test_any_change_of_a_subject_changes_the_fingerprint(tmp_path):
    cohort = small(tmp_path)
    other = replace(cohort, subjects=(*cohort.subjects[:2], replace(cohort.subjects[2], excluded="withdrawn")))
    assert other.fingerprint() != cohort.fingerprint()
    assert len(other.used()) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"files": {"anchor": "../../etc/passwd"}}, "within the cohort's root"),
        ({"files": {"anchor": "/etc/passwd"}}, "within the cohort's root"),
        ({"files": {"picture": "a.nrrd"}}, "roles of"),
        ({"split": "holdout"}, "split of"),
        ({"colour": "red"}, "do not belong"),
        ({"id": "a"}, "twice"),
    ],
)
def test_a_line_that_cannot_be_right_is_refused(tmp_path, change, words):
    path = write_cohort(small(tmp_path))
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[2] = json.dumps(json.loads(lines[2]) | change)
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(CohortError, match=words):
        read_cohort(tmp_path)


@pytest.mark.parametrize(
    ("line", "change"),
    [
        (1, {"id": [1]}), (1, {"id": 5}), (1, {"person": None}), (1, {"files": ["a"]}), (1, {"files": {"anchor": 5}}),
        (1, {"facts": []}), (1, {"sha256": 3}), (1, {"excluded": 1}), (0, {"root": 5}), (0, {"needs": 5}),
        (0, {"needs": [[[1]]]}), (0, {"name": None}), (0, {"splits": {"train": "x"}}), (0, {"splits": [1]}),
    ],
)  # fmt: skip
def test_fields_of_another_type_are_refused(tmp_path, line, change):
    write_cohort(small(tmp_path))
    rows = [json.loads(row) for row in (tmp_path / MANIFEST).read_text(encoding="utf-8").splitlines()]
    rows[line] |= change
    (tmp_path / MANIFEST).write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(CohortError, match="Make it again"):
        read_cohort(tmp_path)


@pytest.mark.parametrize(
    "row", ["[" * 100_000 + "]" * 100_000, '{"id": "\\ud800"}', '{"id": "a", "facts": {"x": "\\ud800"}}']
)
def test_a_line_as_deep_as_none_or_of_no_characters_is_refused(tmp_path, row):
    write_cohort(small(tmp_path))
    with (tmp_path / MANIFEST).open("a", encoding="utf-8") as stream:
        stream.write(row + "\n")
    with pytest.raises(CohortError, match="line 5"):
        read_cohort(tmp_path)


@pytest.mark.parametrize("text", ["", "{}", "[]", "no json", '{"format": "chainofflow-cohort", "format_version": 99}'])
def test_another_format_is_refused(tmp_path, text):
    (tmp_path / MANIFEST).write_text(text, encoding="utf-8")
    with pytest.raises(CohortError, match=r"cof cohort|this version"):
        read_cohort(tmp_path)


def test_a_folder_without_a_manifest_says_how_to_make_one(tmp_path):
    with pytest.raises(CohortError, match="cof cohort synthesize"):
        read_cohort(tmp_path)


@given(st.text(min_size=1, max_size=20))
def test_the_split_of_a_person_never_changes(person):
    assert SplitRule().split_of(person) == SplitRule().split_of(person)


def test_splits_have_the_shares_asked_for():
    rule = SplitRule(0.7, 0.2, 0.1)
    counts = Counter(rule.split_of(f"person-{n}") for n in range(20_000))
    assert counts["train"] / 20_000 == pytest.approx(0.7, abs=0.01)
    assert counts["valid"] / 20_000 == pytest.approx(0.2, abs=0.01)


def test_shares_that_are_no_shares_are_refused():
    with pytest.raises(CohortError, match="add up to 1"):
        SplitRule(0.8, 0.1, 0.2)
