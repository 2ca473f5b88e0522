"""Every ECG format that is read, as a file of the tests' own writers."""

from pathlib import Path

import numpy as np

from support import ecg_writers
from support.scp_writer import scp_bytes


def _file(name: str, make):
    def write(folder: Path, signal: np.ndarray, fs: float) -> Path:
        content = make(signal, fs)
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    return write


def _scp(signal, fs):
    return scp_bytes(np.round(signal * 200).astype(int), step_us=round(1e6 / fs))


FORMATS = [
    ("wfdb", ecg_writers.write_wfdb, 0.0005),
    ("csv", _file("a.csv", ecg_writers.csv_text), 1e-5),
    ("dicom", _file("a.dcm", ecg_writers.dicom_bytes), 0.0025),
    ("edf", _file("a.edf", ecg_writers.edf_bytes), 0.0025),
    ("aecg", _file("a.xml", ecg_writers.aecg_text), 0.0025),
    ("cardiosoft", _file("b.xml", ecg_writers.cardiosoft_text), 0.0025),
    ("muse", _file("c.xml", ecg_writers.muse_text), 0.0049),
    ("philips", _file("d.xml", lambda s, fs: ecg_writers.philips_text(s, fs).encode("utf-16")), 0.0051),
    ("scp", _file("a.scp", _scp), 0.0025),
    ("matlab", _file("a.mat", ecg_writers.matlab_bytes), 1e-6),
    ("matlab", _file("b.mat", lambda s, fs: ecg_writers.matlab_bytes(s, fs, compress=False)), 1e-6),
]
