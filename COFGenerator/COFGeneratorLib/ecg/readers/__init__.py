"""Readers of ECG files, chosen by what a file holds and not by its name.

Each reader module has ``FORMAT``, ``matches(source)`` and ``read(source) -> RawEcg``; its library is imported in
``read``. They are tried in the order of ``READERS``: exact signatures first, plain text last.
"""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from COFGeneratorLib.ecg.readers.leads import assemble
from COFGeneratorLib.ecg.readers.source import Told, load, unit_mv
from COFGeneratorLib.ecg.record import EcgRecord
from COFGeneratorLib.errors import EcgError

READERS = ("dicom", "cardiosoft", "muse", "philips", "aecg", "scp", "edf", "wfdb", "matlab", "csv")


def read_ecg(
    path: str | Path, leads: Sequence[str] = (), rate_hz: float | None = None, unit: str | None = None
) -> EcgRecord:
    """Read a 12-lead ECG from any known format.

    Args:
        path: The file; for WFDB the header, the samples, or the record name without ending.
        leads: Names of the leads in the order in which the file holds them: for arrays and tables without names, or to
            put right leads that the file names wrongly.
        rate_hz: Sampling rate, Hz, where the file states none.
        unit: ``mV``, ``uV``, ``V`` or ``nV``, where the file states none.

    Returns:
        The record in mV, without anything that names a person.

    Raises:
        EcgError: If the file is no ECG, is damaged, or lacks leads.

    Example:
        >>> from COFGeneratorLib.resources import sample_patient
        >>> read_ecg(sample_patient().ecg)
        EcgRecord(10.0 s of 12 leads at 500 Hz, wfdb)
    """
    if unit is not None and unit_mv(unit) is None:
        raise EcgError("The unit of an ECG is mV, uV, V or nV; found another. Correct --unit.")
    source = load(_existing(Path(path)), Told(tuple(leads), rate_hz, unit))
    for name in READERS:
        reader = import_module(f"{__name__}.{name}")
        if not reader.matches(source):
            continue
        try:
            return assemble(reader.read(source), source, reader.FORMAT)
        except EcgError:
            raise
        except Exception as error:
            # Damaged files make libraries fail in many ways. The cause is named by its kind only: its text may
            # quote the file, and with it the patient.
            raise EcgError(
                f"A readable {reader.FORMAT} file is expected; decoding failed ({type(error).__name__}). "
                "The file is damaged; export the recording again."
            ) from None
    raise EcgError(
        "An ECG as WFDB, DICOM, GE CardioSoft or MUSE XML, Philips Sierra XML, HL7 aECG, SCP-ECG, EDF, MATLAB array or "
        "CSV is expected; the content is none of these. Export the recording in one of them."
    )


def _existing(path: Path) -> Path:
    """Return the path itself, or the header of the WFDB record it names."""
    if not path.exists():
        header = path.with_name(path.name + ".hea")
        if header.is_file():
            return header
    return path
