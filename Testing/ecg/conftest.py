"""Fixtures of the ECG tests; the writers are importable as ``cof_ecg_writers``, ``cof_ecg_scp``, …."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from COFGeneratorLib.ecg.record import EcgRecord


def _load(name: str, file: str):
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(file))
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


writers = _load("cof_ecg_writers", "writers.py")
_load("cof_ecg_scp", "scp_writer.py")
_load("cof_ecg_mutations", "mutations.py")


@pytest.fixture(scope="session")
def a_signal() -> np.ndarray:
    """Return (12, 4000) mV, 8 s at 500 Hz, 66 per minute, in steps of 5 µV."""
    return writers.a_signal()


@pytest.fixture(scope="session")
def a_record(a_signal) -> EcgRecord:
    return EcgRecord(a_signal, 500.0)


def pytest_generate_tests(metafunc):
    """Parametrise ``written`` over all formats: (name, function (folder, signal, fs) -> path, resolution mV)."""
    if "written" in metafunc.fixturenames:
        metafunc.parametrize("written", FORMATS, ids=[name for name, _, _ in FORMATS])


def _file(name: str, make):
    def write(folder: Path, signal: np.ndarray, fs: float) -> Path:
        content = make(signal, fs)
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    return write


def _scp(signal, fs):
    return sys.modules["cof_ecg_scp"].scp_bytes(np.round(signal * 200).astype(int), step_us=round(1e6 / fs))


FORMATS = [
    ("wfdb", writers.write_wfdb, 0.0005),
    ("csv", _file("a.csv", writers.csv_text), 1e-5),
    ("dicom", _file("a.dcm", writers.dicom_bytes), 0.0025),
    ("edf", _file("a.edf", writers.edf_bytes), 0.0025),
    ("aecg", _file("a.xml", writers.aecg_text), 0.0025),
    ("cardiosoft", _file("b.xml", writers.cardiosoft_text), 0.0025),
    ("muse", _file("c.xml", writers.muse_text), 0.0049),
    ("philips", _file("d.xml", lambda s, fs: writers.philips_text(s, fs).encode("utf-16")), 0.0051),
    ("scp", _file("a.scp", _scp), 0.0025),
    ("matlab", _file("a.mat", writers.matlab_bytes), 1e-6),
    ("matlab", _file("b.mat", lambda s, fs: writers.matlab_bytes(s, fs, compress=False)), 1e-6),
]
