"""Files that hold more than the rhythm, or say in a field of their own what its rows are."""

import copy
import io

import numpy as np
import pytest
from COFGeneratorLib.ecg import read_ecg
from COFGeneratorLib.ecg.record import LEADS
from COFGeneratorLib.errors import EcgError
from support.ecg_writers import dicom_bytes


def _like(record, signal):
    assert record.signal_mv.shape == signal.shape
    assert np.abs(record.signal_mv - signal).max() <= 0.006


# ---------------------------------------------------------------- parts of a DICOM object


def _dicom(tmp_path, signal, change):
    """Read an object of rhythm and median beat after ``change(rhythm, rhythm again)`` gave its parts."""
    import pydicom

    dataset = pydicom.dcmread(io.BytesIO(dicom_bytes(signal, 500.0, median=False)))
    rhythm = dataset.WaveformSequence[0]
    dataset.WaveformSequence = change(rhythm, copy.deepcopy(rhythm))
    dataset.save_as(tmp_path / "x.dcm")
    return read_ecg(tmp_path / "x.dcm")


def _keep(part, rows):
    """Leave only some channels of a part."""
    data = np.frombuffer(part.WaveformData, "<i2").reshape(-1, len(part.ChannelDefinitionSequence))
    part.ChannelDefinitionSequence = [part.ChannelDefinitionSequence[row] for row in rows]
    part.NumberOfWaveformChannels = len(rows)
    part.WaveformData = np.ascontiguousarray(data[:, rows]).tobytes()
    return part


def _first(part, samples):
    part.NumberOfWaveformSamples = samples
    part.WaveformData = part.WaveformData[: 2 * samples * len(part.ChannelDefinitionSequence)]
    return part


def test_dicom_rhythm_of_eight_leads_comes_before_a_median_beat_of_twelve(tmp_path, a_signal):
    eight = [0, 1, *range(6, 12)]
    record = _dicom(tmp_path, a_signal, lambda rhythm, other: [_first(other, 600), _keep(rhythm, eight)])
    _like(record, a_signal)


def test_dicom_derived_beats_are_no_rhythm_however_long(tmp_path, a_signal):
    def parts(rhythm, other):
        other.WaveformOriginality, other.SamplingFrequency = "DERIVED", 100.0
        return [other, rhythm]

    _like(_dicom(tmp_path, a_signal, parts), a_signal)


@pytest.mark.parametrize("offset", [0, 2500, None])
def test_dicom_leads_in_two_parts_are_joined_where_they_began_at_once(tmp_path, a_signal, offset):
    def parts(rhythm, other):
        if offset is not None:
            rhythm.MultiplexGroupTimeOffset, other.MultiplexGroupTimeOffset = 0, offset
        return [_keep(rhythm, range(6)), _keep(other, range(6, 12))]

    if offset == 0:
        record = _dicom(tmp_path, a_signal, parts)
        _like(record, a_signal)
        assert any("were joined" in note for note in record.warnings)
    else:
        with pytest.raises(EcgError, match="Twelve standard leads are needed"):
            _dicom(tmp_path, a_signal, parts)


def test_dicom_units_may_stand_in_the_meaning_alone(tmp_path, a_signal):
    def parts(rhythm, other):
        for channel in rhythm.ChannelDefinitionSequence:
            channel.ChannelSensitivityUnitsSequence[0].CodeValue = "266419"
            channel.ChannelSensitivityUnitsSequence[0].CodeMeaning = "microvolt"
        return [rhythm]

    _like(_dicom(tmp_path, a_signal, parts), a_signal)


# ---------------------------------------------------------------- what a MATLAB file says of its rows

_TURNED = [11, 10, 9, 8, 7, 6, *range(6)]


@pytest.mark.parametrize("kind", ["cells", "characters", "text", "cells of a structure"])
def test_matlab_names_of_leads_order_its_rows(tmp_path, a_signal, kind):
    from scipy.io import savemat

    names = [LEADS[row] for row in _TURNED]
    listed = {"characters": np.array(names), "text": "; ".join(names)}.get(kind, np.array(names, dtype=object))
    content = {"signal": a_signal[_TURNED], "fs": 500.0, "leads": listed}
    savemat(tmp_path / "x.mat", {"record": content} if kind.endswith("structure") else content)
    _like(read_ecg(tmp_path / "x.mat"), a_signal)


@pytest.mark.parametrize("gain", [200.0, np.full((12, 1), 500.0)])
def test_matlab_gain_makes_millivolt_of_steps_and_leaves_millivolt_alone(tmp_path, a_signal, gain):
    from scipy.io import savemat

    savemat(tmp_path / "x.mat", {"val": np.round(a_signal * gain).astype(np.int16), "fs": 500.0, "adc_gain": gain})
    _like(read_ecg(tmp_path / "x.mat"), a_signal)
    savemat(tmp_path / "x.mat", {"val": a_signal, "fs": 500.0, "adc_gain": gain})
    _like(read_ecg(tmp_path / "x.mat"), a_signal)


def test_matlab_units_may_be_given_lead_by_lead(tmp_path, a_signal):
    from scipy.io import savemat

    content = {"val": a_signal * 1000.0, "fs": 500.0, "units": np.array(["uV"] * 12, dtype=object)}
    savemat(tmp_path / "x.mat", content)
    _like(read_ecg(tmp_path / "x.mat"), a_signal)
    content["units"] = np.array(["uV"] * 11 + ["mV"], dtype=object)
    savemat(tmp_path / "x.mat", content)
    with pytest.raises(EcgError, match="unit must be V, mV, uV or nV"):
        read_ecg(tmp_path / "x.mat")
