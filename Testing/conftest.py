"""What every test may rely on: fixtures that rooms share, one seed, and real recordings where there are any."""

import sys
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]

pytest_plugins = ["support.command_line", "support.documented_way", "support.ecgflowcmr", "support.tiny_bundle"]

# First calls import and compile, so time limits would fail by chance; a fixed seed makes every run the same.
settings.register_profile("chainofflow", deadline=None, derandomize=True)
settings.load_profile("chainofflow")

SLOW_FIXTURES = {"walked", "own_patients", "smoke_run", "smoke_bundle", "make_examples"}
"""What trains or renders for many seconds: a test that asks for one of them is slow."""

SHARED_DATA = ROOT.parent / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what stands on a slow fixture."""
    for item in items:
        if SLOW_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker("slow")


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the root of the source tree."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real recordings (``mri/``, ``ecg/``), which is never part of the repository."""
    if not (SHARED_DATA / "ecg").is_dir():
        pytest.skip(
            f"real recordings are not on this machine (looked in {SHARED_DATA.parent.name}/data beside the tree)"
        )
    return SHARED_DATA


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Make every test's random weights the same, whatever ran before it."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
