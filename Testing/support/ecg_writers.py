"""Small writers of every ECG format, and a synthetic ECG in closed form, for round trips and damaged files.

Each writer plants the words of ``PERSON`` where the format keeps patient, physician and institution.
"""

import base64
import io
import struct
from pathlib import Path

import numpy as np
from COFGeneratorLib.ecg.record import LEADS

PERSON = {"name": "Zyxwvut", "given": "Qqplant", "id": "ID7391846", "birth": "19511224", "place": "Plantedhospital"}
"""Values that must never be seen again."""

WAVES_MS = {"p": (-170.0, 20.0), "q": (-24.0, 6.0), "r": (0.0, 8.0), "s": (24.0, 8.0), "t": (280.0, 35.0)}
"""Centre and SD of the Gaussian waves of the synthetic beat, ms from R."""
_AMPLITUDES = {
    "I": {"p": 0.10, "q": -0.05, "r": 0.80, "s": -0.10, "t": 0.25},
    "II": {"p": 0.14, "q": -0.06, "r": 1.00, "s": -0.15, "t": 0.30},
    "V1": {"p": 0.05, "q": 0.00, "r": 0.25, "s": -0.90, "t": 0.05},
    "V2": {"p": 0.06, "q": 0.00, "r": 0.50, "s": -1.10, "t": 0.40},
    "V3": {"p": 0.06, "q": 0.00, "r": 0.80, "s": -0.80, "t": 0.45},
    "V4": {"p": 0.06, "q": -0.05, "r": 1.30, "s": -0.40, "t": 0.40},
    "V5": {"p": 0.06, "q": -0.08, "r": 1.20, "s": -0.20, "t": 0.35},
    "V6": {"p": 0.06, "q": -0.08, "r": 0.90, "s": -0.10, "t": 0.25},
}


def twelve(stored: dict[str, np.ndarray]) -> np.ndarray:
    """Complete I, II, V1–V6 to (12, L) by Einthoven's and Goldberger's equations."""
    one, two = stored["I"], stored["II"]
    limb = {"III": two - one, "aVR": -(one + two) / 2, "aVL": one - two / 2, "aVF": two - one / 2}
    return np.stack([{**stored, **limb}[name] for name in LEADS])


def beat_train(r_s, seconds: float, fs_hz: float, waves=("p", "q", "r", "s", "t"), gain=None) -> np.ndarray:
    """Return (12, L) mV with one beat at each R time; ``gain`` scales single beats."""
    time = np.arange(round(seconds * fs_hz)) / fs_hz
    gain = np.ones(len(r_s)) if gain is None else gain
    shapes = {
        wave: sum(
            g * np.exp(-0.5 * (((time - r) * 1000.0 - WAVES_MS[wave][0]) / WAVES_MS[wave][1]) ** 2)
            for r, g in zip(r_s, gain, strict=True)
        )
        for wave in waves
    }
    stored = {lead: sum(_AMPLITUDES[lead][w] * shapes[w] for w in waves) for lead in _AMPLITUDES}
    return twelve(stored)


def a_signal(seconds: float = 8.0, fs_hz: float = 500.0, hr_bpm: float = 66.0) -> np.ndarray:
    """Return a regular synthetic ECG whose values are multiples of 5 µV in the stored leads, (12, L) mV."""
    r_s = np.arange(0.5, seconds, 60.0 / hr_bpm)
    exact = beat_train(r_s, seconds, fs_hz)
    stored = {lead: np.round(exact[LEADS.index(lead)] / 0.01) * 0.01 for lead in _AMPLITUDES}
    return twelve(stored)


def write_wfdb(folder: Path, signal: np.ndarray, fs: float, name: str = "rec") -> Path:
    """Format 16, 200 per mV."""
    import wfdb

    wfdb.wrsamp(
        name, fs=int(fs), units=["mV"] * 12, sig_name=[lead.lower() for lead in LEADS], p_signal=signal.T,
        fmt=["16"] * 12, adc_gain=[1000.0] * 12, baseline=[0] * 12, write_dir=str(folder),
        comments=[f"{key}: {value}" for key, value in PERSON.items()],
    )  # fmt: skip
    return folder / f"{name}.hea"


def csv_text(signal: np.ndarray, fs: float, names=LEADS, unit: str = "mV", separator: str = ",", time=False) -> str:
    """Values in full precision; the rate as a comment or a time column."""
    scale = {"mV": 1.0, "uV": 1000.0}[unit]
    lines = [f"# patient: {PERSON['name']} {PERSON['id']}", f"# unit: {unit}"]
    lines += [] if time else [f"# fs_hz: {fs:g}"]
    lines.append(separator.join((["time_s"] if time else []) + list(names)))
    for i, row in enumerate(signal.T * scale):
        cells = ([f"{i / fs:.6f}"] if time else []) + [f"{value:.6g}" for value in row]
        lines.append(separator.join(cells))
    return "\n".join(lines) + "\n"


def dicom_bytes(signal: np.ndarray, fs: float, sensitivity_uv: float = 5.0, median: bool = True) -> bytes:
    """A 12-lead ECG storage object with a rhythm and a median beat."""
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.sequence import Sequence
    from pydicom.uid import ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.9.1.1"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("x", {}, file_meta=meta, preamble=b"\x00" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3"
    data.PatientName, data.PatientID = f"{PERSON['name']}^{PERSON['given']}", PERSON["id"]
    data.PatientBirthDate, data.InstitutionName = PERSON["birth"], PERSON["place"]

    def group(values, label):
        item = Dataset()
        item.WaveformOriginality, item.MultiplexGroupLabel = "ORIGINAL", label
        item.NumberOfWaveformChannels, item.NumberOfWaveformSamples = 12, values.shape[1]
        item.SamplingFrequency = str(fs)
        channels = []
        for lead in LEADS:
            channel, source, unit = Dataset(), Dataset(), Dataset()
            source.CodeValue, source.CodingSchemeDesignator = "x", "99X"
            source.CodeMeaning = "Lead I (Einthoven)" if lead == "I" else f"Lead {lead}"
            unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = "uV", "UCUM", "microvolt"
            channel.ChannelSourceSequence = Sequence([source])
            channel.ChannelSensitivity, channel.ChannelSensitivityUnitsSequence = str(sensitivity_uv), Sequence([unit])
            channel.ChannelSensitivityCorrectionFactor, channel.ChannelBaseline = "1", "0"
            channel.WaveformBitsStored = 16
            channels.append(channel)
        item.ChannelDefinitionSequence = Sequence(channels)
        item.WaveformBitsAllocated, item.WaveformSampleInterpretation = 16, "SS"
        item.WaveformData = np.round(values.T * 1000 / sensitivity_uv).astype("<i2").tobytes()
        return item

    groups = [group(signal, "RHYTHM")] + ([group(signal[:, :600], "MEDIAN BEAT")] if median else [])
    data.WaveformSequence = Sequence(groups)
    out = io.BytesIO()
    data.save_as(out, enforce_file_format=True)
    return out.getvalue()


def edf_bytes(signal: np.ndarray, fs: float, plus: bool = True, unit: str = "uV") -> bytes:
    """One-second records, 5 µV a digit; an annotation signal beside the leads where ``plus``."""
    per_record, records = round(fs), signal.shape[1] // round(fs)
    count = 12 + plus
    scale = {"uV": 1.0, "mV": 1e-3}[unit]
    digits = np.round(signal * 200).astype("<i2")

    def text(value, width):
        return str(value).encode("ascii")[:width].ljust(width)

    head = text("0", 8) + text(f"{PERSON['id']} F 24-DEC-1951 {PERSON['name']}", 80)
    head += text(f"Startdate 01-JAN-2020 X {PERSON['place']} X", 80) + text("01.01.20", 8) + text("10.00.00", 8)
    head += text(256 * (count + 1), 8) + text("EDF+C" if plus else "", 44) + text(records, 8) + text(1, 8)
    head += text(count, 4)
    columns = (
        ([f"ECG {name}" for name in LEADS], "EDF Annotations", 16), (["electrode"] * 12, "", 80),
        ([unit] * 12, "", 8), ([f"{-32768 * 5 * scale:.7g}"] * 12, "-1", 8),
        ([f"{32767 * 5 * scale:.7g}"] * 12, "1", 8), (["-32768"] * 12, "-32768", 8), (["32767"] * 12, "32767", 8),
        (["HP:0.05Hz"] * 12, "", 80), ([per_record] * 12, 16, 8), ([""] * 12, "", 32),
    )  # fmt: skip
    for leads, extra, width in columns:
        head += b"".join(text(value, width) for value in leads) + (text(extra, width) if plus else b"")
    body = b""
    for k in range(records):
        body += digits[:, k * per_record : (k + 1) * per_record].tobytes()
        body += f"+{k}\x14\x14\x00".encode().ljust(32, b"\x00") if plus else b""
    return head + body


def aecg_text(signal: np.ndarray, fs: float, scale_uv: float = 5.0, derived: bool = True) -> str:
    """An annotated ECG with a rhythm and a derived representative beat."""
    digits = np.round(signal * 1000 / scale_uv).astype(int)

    def sequences(values):
        parts = [
            '<component><sequence><code code="TIME_ABSOLUTE"/><value xsi:type="GLIST_TS">'
            '<head value="20200101100000.000"/>'
            f'<increment value="{1 / fs:.9g}" unit="s"/></value></sequence></component>'
        ]
        for lead, row in zip(LEADS, values, strict=True):
            parts.append(
                f'<component><sequence><code code="MDC_ECG_LEAD_{lead.upper()}"/><value xsi:type="SLIST_PQ">'
                f'<origin value="0" unit="uV"/><scale value="{scale_uv:g}" unit="uV"/>'
                f"<digits>{' '.join(map(str, row))}</digits></value></sequence></component>"
            )
        return "<component><sequenceSet>" + "".join(parts) + "</sequenceSet></component>"

    beat = ""
    if derived:
        beat = (
            '<derivation><derivedSeries><code code="REPRESENTATIVE_BEAT"/>'
            + sequences(digits[:, :600])
            + "</derivedSeries></derivation>"
        )
    return (
        '<?xml version="1.0" encoding="utf-8"?><!-- <AnnotatedECG> --><AnnotatedECG xmlns="urn:hl7-org:v3" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><componentOf><subject><trialSubject>'
        f'<id extension="{PERSON["id"]}"/><name>{PERSON["name"]}</name><birthTime value="{PERSON["birth"]}"/>'
        f"</trialSubject></subject><location><name>{PERSON['place']}</name></location></componentOf>"
        '<component><series><code code="RHYTHM"/>' + sequences(digits) + beat + "</series></component></AnnotatedECG>"
    )


def cardiosoft_text(signal: np.ndarray, fs: float, strip: bool = True, median: bool = True) -> str:
    """The layout of UK Biobank field 20205, 5 µV a digit."""
    digits = np.round(signal * 200).astype(int)

    def part(tag, values):
        waves = "".join(
            f'<WaveformData lead="{lead}">\t\t{",".join(map(str, row))}</WaveformData>\n'
            for lead, row in zip(LEADS, values, strict=True)
        )
        return (
            f'<{tag}><NumberOfLeads>12</NumberOfLeads><SampleRate units="Hz">{fs:g}</SampleRate>'
            f'<Resolution units="uVperLsb">5</Resolution>{waves}</{tag}>'
        )

    return (
        '<?xml version="1.0" encoding="ISO8859-1" ?>\n<CardiologyXML><ObservationType>RestECG</ObservationType>'
        f"<PatientInfo><PID>{PERSON['id']}</PID><Name><FamilyName>{PERSON['name']}</FamilyName></Name>"
        f"<BirthDateTime>{PERSON['birth']}</BirthDateTime></PatientInfo><Facility>{PERSON['place']}</Facility>"
        '<RestingECGMeasurements><VentricularRate units="BPM">66</VentricularRate>'
        + (part("MedianSamples", digits[:, :600]) if median else "")
        + "</RestingECGMeasurements>"
        + (part("StripData", digits) if strip else "")
        + "</CardiologyXML>"
    )


def muse_text(signal: np.ndarray, fs: float, rhythm: bool = True) -> str:
    """Eight leads, base64 int16, 4.88 µV a digit."""
    stored = [0, 1, *range(6, 12)]

    def wave(kind, values):
        out = f"<Waveform><WaveformType>{kind}</WaveformType><SampleBase>{fs:g}</SampleBase>"
        out += "<SampleExponent>0</SampleExponent>"
        for row in stored:
            digits = np.round(values[row] * 1000 / 4.88).astype("<i2")
            out += (
                f"<LeadData><LeadSampleCountTotal>{len(digits)}</LeadSampleCountTotal>"
                "<LeadAmplitudeUnitsPerBit>4.88</LeadAmplitudeUnitsPerBit>"
                "<LeadAmplitudeUnits>MICROVOLTS</LeadAmplitudeUnits>"
                f"<LeadID>{LEADS[row]}</LeadID><LeadSampleSize>2</LeadSampleSize>"
                f"<WaveFormData>\n{base64.encodebytes(digits.tobytes()).decode()}</WaveFormData></LeadData>"
            )
        return out + "</Waveform>"

    return (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<!DOCTYPE RestingECG SYSTEM "restecg.dtd">\n<RestingECG>'
        f"<PatientDemographics><PatientID>{PERSON['id']}</PatientID><PatientLastName>{PERSON['name']}</PatientLastName>"
        f"<DateofBirth>{PERSON['birth']}</DateofBirth></PatientDemographics>"
        f"<TestDemographics><SiteName>{PERSON['place']}</SiteName></TestDemographics>"
        + wave("Median", signal[:, :600])
        + (wave("Rhythm", signal) if rhythm else "")
        + "</RestingECG>"
    )


def lzw10(data: bytes) -> bytes:
    """Compress with fixed 10-bit codes as Sierra does; 1023 ends the stream."""
    table, codes, current = {bytes([i]): i for i in range(256)}, [], b""
    for value in data:
        longer = current + bytes([value])
        if longer in table:
            current = longer
            continue
        codes.append(table[current])
        if len(table) < 1023:
            table[longer] = len(table)
        current = bytes([value])
    codes += [table[current], 1023] if current else [1023]
    bits = "".join(f"{code:010b}" for code in codes)
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def xli(rows: list[np.ndarray]) -> bytes:
    """Compress integer leads: biased second differences, high bytes first, LZW."""
    out = b""
    for x in rows:
        second = 2 * x[1:-1] - x[:-2] - x[2:]
        stored = np.concatenate([x[:2], second[1:] + 64, [64]]).astype(np.int64)
        unsigned = stored & 0xFFFF
        packed = bytes((unsigned >> 8).tolist()) + bytes((unsigned & 0xFF).tolist())
        chunk = lzw10(packed)
        out += struct.pack("<iHh", len(chunk), 1, int(second[0])) + chunk
    return out


def philips_text(signal: np.ndarray, fs: float, version: str = "1.04.01", padding_s: float = 1.0) -> str:
    """Sierra XML, XLI-compressed (or plain as version 1.03 may), 5 µV a digit, with a calibration pulse at the end."""
    digits = np.round(signal * 200).astype(np.int64)
    pad = round(padding_s * fs)
    if pad:
        tail = np.zeros(pad, dtype=np.int64)
        tail[pad // 3 : 2 * pad // 3] = 200
        digits = np.concatenate([digits, np.tile(tail, (12, 1))], axis=1)
    one, two = digits[0], digits[1]
    three = two - one

    def half(values):
        return np.trunc(values / 2).astype(np.int64)

    stored = [*digits]
    stored[2] = two - one - digits[2]
    stored[3] = -half(one + two) - digits[3]
    stored[4] = half(one - three) - digits[4]
    stored[5] = half(two + three) - digits[5]
    length_ms = round(1000 * digits.shape[1] / fs)
    if version == "1.03":
        characteristics = (
            f"<samplingrate>{fs:g}</samplingrate><signalresolution>5</signalresolution>"
            "<numberchannelsvalid>12</numberchannelsvalid>"
        )
        tag = f'compressflag="True" compressmethod="XLI" dataencoding="Base64" durationperchannel="{length_ms}"'
    else:
        characteristics = f"<samplingrate>{fs:g}</samplingrate><resolution>5</resolution>"
        tag = (
            f'dataencoding="Base64" compression="XLI" numberofleads="12" leadlabels="{" ".join(LEADS)}" '
            f'durationperchannel="{length_ms}" samplespersecond="{fs:g}" resolution="5" signaloffset="0"'
        )
    return (
        '<?xml version="1.0" encoding="utf-16"?>\n<restingecgdata xmlns="http://www3.medical.philips.com">'
        f"<documentinfo><documentversion>{version}</documentversion></documentinfo><patient><generalpatientdata>"
        f"<patientid>{PERSON['id']}</patientid><name><lastname>{PERSON['name']}</lastname></name>"
        f"<dateofbirth>{PERSON['birth']}</dateofbirth></generalpatientdata></patient>"
        f"<dataacquisition><acquirer><institutionname>{PERSON['place']}</institutionname></acquirer>"
        f"<signalcharacteristics>{characteristics}</signalcharacteristics></dataacquisition>"
        f"<waveforms><parsedwaveforms {tag}>{base64.b64encode(xli(stored)).decode()}</parsedwaveforms></waveforms>"
        "</restingecgdata>"
    )


def matlab_bytes(signal: np.ndarray, fs: float, level: str = "5", compress: bool = True, name: str = "val") -> bytes:
    """A MATLAB file with array, rate and a planted text."""
    from scipy.io import savemat

    out = io.BytesIO()
    content = {name: signal, "fs": float(fs), "owner": PERSON["name"], "place": PERSON["place"]}
    savemat(out, content, format=level, do_compression=compress and level == "5")
    return out.getvalue()
