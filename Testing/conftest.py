"""What every test may rely on: both floors on the path, and the folder of real recordings where there is one."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
for _floor in ("COFGenerator", "COFTraining"):
    if str(ROOT / _floor) not in sys.path:
        sys.path.insert(0, str(ROOT / _floor))

SHARED_DATA = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def repository() -> Path:
    """Return the root of the source tree."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real recordings (``mri/``, ``ecg/``), which is never part of the repository."""
    if not (SHARED_DATA / "ecg").is_dir():
        pytest.skip(f"real recordings are not on this machine (looked in {SHARED_DATA.parent.name}/data beside the tree)")
    return SHARED_DATA
