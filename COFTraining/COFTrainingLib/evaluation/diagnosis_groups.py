"""The papers' nine groups by an ECG's diagnosis statements (``diagnosis_groups.toml``); by measurements without any."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from COFTrainingLib.cohort.diagnoses import SCP, SNOMED, Statement
from COFTrainingLib.evaluation.groups import GROUPS, ecg_group

NORMAL, OTHER = "normal", "other"
STATED, MEASURED = "statements", "measurements"


@cache
def _rules() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("diagnosis_groups.toml").read_text(encoding="utf-8"))


def mappings() -> dict[str, dict[str, list[Any]]]:
    """Return what belongs to each group, in the order in which groups are looked for: snomed, scp, words."""
    return {name: rule for name, rule in _rules().items() if name in GROUPS}


def stated_group(statements: Iterable[Statement]) -> str:
    """Return the group of an ECG's statements; empty where they say nothing of the heart.

    The first group of the table that has a statement; a statement that is listed nowhere makes it "other", and a doubt
    ("possible", "cannot rule out") counts only where nothing sure is found.

    Example:
        >>> stated_group([Statement("SNOMED CT", "426783006"), Statement("SNOMED CT", "59118001")])
        'bundle branch block'
    """
    sure, doubtful = set[str](), set[str]()
    for statement in statements:
        group = group_of_statement(statement)
        if group:
            (doubtful if _doubted(statement) else sure).add(group)
    findings = sure - {NORMAL}
    chosen = findings or (doubtful - {NORMAL}) or sure or doubtful
    if not chosen:
        return ""
    return next((name for name in mappings() if name in chosen), OTHER)


def group_of_statement(statement: Statement) -> str:
    """Return the group of one statement; empty where it is none of the heart's."""
    if statement.system in (SNOMED, SCP):
        column = "snomed" if statement.system == SNOMED else "scp"
        listed = (name for name, rule in mappings().items() if statement.code in map(str, rule[column]))
        return next(listed, OTHER)
    if any(re.search(pattern, statement.code) for pattern in _rules()["ignored"]):
        return ""
    found = (
        name for name, rule in mappings().items() if any(re.search(word, statement.code) for word in rule["words"])
    )
    return next(found, OTHER)


def _doubted(statement: Statement) -> bool:
    return statement.system not in (SNOMED, SCP) and any(
        re.search(pattern, statement.code) for pattern in _rules()["doubts"]
    )


def group_of_row(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return (group, ``STATED`` or ``MEASURED``) of a reference row, by statements where there are any."""
    if row.get("stated_group"):
        return str(row["stated_group"]), STATED
    return ecg_group(row["ecg"], row.get("facts", {})), MEASURED
