"""The limits that the security page tells are those of the code, and the tests that it names exist."""

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "Resources" / "Docs" / "security.md").read_text("utf-8")
UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
LIMITS = re.findall(r"^\| [^|]+ \| (\d+)(?: (\w+))? \| `(COF[\w.]+)\.(\w+)` \|$", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("number", "unit", "module", "name"), LIMITS, ids=[f"{m}.{n}" for _, _, m, n in LIMITS])
def test_a_limit_is_that_of_the_code(number, unit, module, name):
    assert getattr(importlib.import_module(module), name) == int(number) * UNITS.get(unit, 1)


def test_every_row_of_limits_is_looked_at():
    rows = [line for line in PAGE.splitlines() if line.startswith("|") and "`COF" in line]
    assert len(LIMITS) == len(rows) >= 20


def test_the_tests_that_are_named_exist():
    named = re.findall(r"`(Testing/[\w/]+\.py)`", PAGE)
    assert len(named) >= 10
    assert [name for name in named if not (ROOT / name).is_file()] == []
