"""One record, and every format that it is written in."""

import numpy as np
import pytest
from COFGeneratorLib.ecg.record import EcgRecord
from support import ecg_writers
from support.ecg_files import FORMATS


@pytest.fixture(scope="session")
def a_signal() -> np.ndarray:
    """Return (12, 4000) mV, 8 s at 500 Hz, 66 per minute, in steps of 5 µV."""
    return ecg_writers.a_signal()


@pytest.fixture(scope="session")
def a_record(a_signal) -> EcgRecord:
    return EcgRecord(a_signal, 500.0)


def pytest_generate_tests(metafunc):
    """Parametrise ``written`` over all formats: (name, function (folder, signal, fs) -> path, resolution mV)."""
    if "written" in metafunc.fixturenames:
        metafunc.parametrize("written", FORMATS, ids=[name for name, _, _ in FORMATS])
