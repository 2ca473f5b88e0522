"""What every test may rely on: both floors on the path, and the folder of real recordings where there is one."""

import sys
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]
for _floor in ("COFGenerator", "COFTraining"):
    if str(ROOT / _floor) not in sys.path:
        sys.path.insert(0, str(ROOT / _floor))

# First calls import and compile, so time limits would fail by chance; a fixed seed makes every run the same.
settings.register_profile("chainofflow", deadline=None, derandomize=True)
settings.load_profile("chainofflow")

SHARED_DATA = ROOT.parent / "shared" / "data"


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
