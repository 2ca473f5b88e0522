"""Disease groups by diagnosis statements: every code of the sources, words of devices, and measurements without any."""

import tomllib
from pathlib import Path

import COFTrainingLib.evaluation.diagnosis_groups as groups
import pytest
from COFTrainingLib.cohort.diagnoses import SCP, SNOMED, WORDS, Statement, statements_in, statements_of
from COFTrainingLib.evaluation.diagnosis_groups import MEASURED, STATED, group_of_row, stated_group
from COFTrainingLib.evaluation.groups import GROUPS

PTBXL = {
    "NORM": "NORM SR",
    "MI": "IMI ASMI AMI ALMI ILMI LMI IPLMI IPMI PMI INJAS INJAL INJIN INJLA INJIL",
    "STTC": "NDT NST_ DIG LNGQT ISC_ ISCAL ISCIN ISCIL ISCAS ISCLA ISCAN ANEUR EL STD_ STE_ TAB_ INVT LOWT NT_",
    "HYP": "LVH RVH SEHYP VCLVH LAO/LAE RAO/RAE",
    "intraventricular": "CLBBB CRBBB ILBBB IRBBB IVCD LAFB LPFB",
    "AV": "1AVB 2AVB 3AVB LPR",
    "fibrillation": "AFIB AFLT",
    "sinus": "SBRAD STACH",
    "none": "WPW ABQRS PVC QWAVE PAC LVOLT HVOLT PRC(S) SARRH PACE SVARR BIGU SVTAC PSVT TRIGU",
}
"""All 71 codes of PTB-XL, by its diagnostic classes (scp_statements.csv), CD and rhythm divided as the papers do."""
GROUP_OF_CLASS = {
    "NORM": "normal", "MI": "infarction", "STTC": "repolarisation abnormality", "HYP": "hypertrophy",
    "intraventricular": "bundle branch block", "AV": "AV block", "fibrillation": "atrial fibrillation",
    "sinus": "sinus brady- or tachycardia", "none": "other",
}  # fmt: skip
CINC = {
    "atrial fibrillation": "164889003 164890007 195080001 426749004 282825002 314208002",
    "bundle branch block": "6374002 733534002 713427006 713426002 445118002 164909002 698252002 59118001 251120003",
    "AV block": "270492004 164947007 233917008 195042002 426183003 54016002 27885002",
    "hypertrophy": "164873001 89792004 266249003 67741000119109 446813000 446358003 55827005",
    "infarction": "57054005 54329005 164865005 164867002",
    "repolarisation abnormality": "164934002 59931005 111975006 164931005 429622005 55930002 425623009",
    "sinus brady- or tachycardia": "426177001 427084000 426627000",
    "normal": "426783006",
    "other": "39732003 251146004 284470004 10370003 365413008 427172004 47665007 427393009 63593006 17338001 74390002",
}
"""Codes of PhysioNet/CinC 2021 by what its tables call them."""
DEVICE = [
    ("normal", ["Normal sinus rhythm", "Normal ECG"]),
    (
        "normal",
        ["Sinus rhythm", "Normal ECG", "When compared with ECG of 01-JAN-2001, atrial fibrillation is no longer"],
    ),
    ("hypertrophy", ["Normal sinus rhythm", "Voltage criteria for left ventricular hypertrophy", "Abnormal ECG"]),
    ("sinus brady- or tachycardia", ["Sinus bradycardia", "Otherwise normal ECG"]),
    ("atrial fibrillation", ["Atrial fibrillation with rapid ventricular response", "Right bundle branch block"]),
    ("bundle branch block", ["Normal sinus rhythm", "Incomplete right bundle branch block", "Borderline ECG"]),
    ("AV block", ["Sinus rhythm with 1st degree A-V block", "Otherwise normal ECG"]),
    ("infarction", ["Sinus rhythm", "Inferior infarct, age undetermined", "ST & T wave abnormality"]),
    (
        "repolarisation abnormality",
        ["Sinus rhythm", "Nonspecific T wave abnormality", "Cannot rule out Anterior infarct"],
    ),
    ("infarction", ["Normal sinus rhythm", "Possible Inferior infarct", "Abnormal ECG"]),
    ("other", ["Sinus rhythm with occasional Premature ventricular complexes"]),
    ("other", ["Left axis deviation", "Normal sinus rhythm"]),
]


def test_every_code_of_ptb_xl_has_the_group_of_its_class():
    codes = [code for listed in PTBXL.values() for code in listed.split()]
    assert len(codes) == len(set(codes)) == 71
    for kind, listed in PTBXL.items():
        for code in listed.split():
            assert stated_group([Statement(SCP, code)]) == GROUP_OF_CLASS[kind], code


@pytest.mark.parametrize("group", CINC)
def test_snomed_codes_have_the_groups_of_their_names(group):
    for code in CINC[group].split():
        assert stated_group([Statement(SNOMED, code)]) == group, code


@pytest.mark.parametrize(("group", "phrases"), DEVICE)
def test_words_of_a_device_are_grouped_and_doubts_count_last(group, phrases):
    assert stated_group([Statement(WORDS, phrase.lower()) for phrase in phrases]) == group


def test_no_code_stands_in_two_groups_and_every_group_is_the_papers():
    rules = tomllib.loads(Path(groups.__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    named = {name: rule for name, rule in rules.items() if isinstance(rule, dict)}
    assert set(named) | {"other"} == set(GROUPS)
    for system in ("snomed", "scp"):
        codes = [code for rule in named.values() for code in rule[system]]
        assert len(codes) == len(set(codes))


def test_one_finding_makes_an_ecg_abnormal_and_the_first_group_counts():
    assert stated_group(statements_in("426783006,59118001")) == "bundle branch block"
    assert stated_group(statements_in("284470004,251187003,164934002,59931005")) == "repolarisation abnormality"
    assert stated_group(statements_in("NORM SR PVC")) == "other"
    assert stated_group([]) == ""
    assert stated_group([Statement(WORDS, "abnormal ecg")]) == ""


def test_likelihoods_of_ptb_xl_below_a_half_do_not_count():
    assert stated_group(statements_in("{'IMI': 35.0, 'NORM': 80.0, 'SR': 0.0}")) == "normal"
    assert stated_group(statements_in("{'IMI': 50.0, 'NORM': 80.0}")) == "infarction"
    assert statements_in("{'a': ") == []
    assert statements_in("{1: 'x'}") == []


def test_a_wfdb_header_and_the_table_of_ptb_xl_are_found(tmp_path):
    (tmp_path / "a.hea").write_text("a 12 500 5000\n# Age: 70\n# Dx: 164889003, 39732003\n", encoding="ascii")
    assert statements_of(tmp_path / "a.hea") == [Statement(SNOMED, "164889003"), Statement(SNOMED, "39732003")]
    record = tmp_path / "records100" / "00000" / "00001_lr.hea"
    record.parent.mkdir(parents=True)
    record.write_text("00001_lr 12 100 1000\n", encoding="ascii")
    assert statements_of(record) == []
    table = "ecg_id,scp_codes,filename_lr,filename_hr\n1,\"{'CLBBB': 100.0}\",records100/00000/00001_lr,records500/x\n"
    (tmp_path / "ptbxl_database.csv").write_text(table, encoding="utf-8")
    assert statements_of(record) == [Statement(SCP, "CLBBB")]


def test_xml_of_two_devices_is_read_and_a_damaged_one_says_nothing(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text("<CardiologyXML><Interpretation><Diagnosis><DiagnosisText>Sinus  Bradycardia</DiagnosisText>"
                    "</Diagnosis></Interpretation></CardiologyXML>", encoding="utf-8")  # fmt: skip
    assert statements_of(path) == [Statement(WORDS, "sinus bradycardia")]
    path.write_text("<RestingECG><Diagnosis><DiagnosisStatement><StmtText>Atrial flutter</StmtText>"
                    "</DiagnosisStatement></Diagnosis></RestingECG>", encoding="utf-8")  # fmt: skip
    assert statements_of(path) == [Statement(WORDS, "atrial flutter")]
    path.write_text("<RestingECG><Diag", encoding="utf-8")
    assert statements_of(path) == []
    assert statements_of(tmp_path / "none.hea") == []


def test_measurements_stand_in_where_nothing_is_stated():
    ecg = {"rr_ms": 1000.0, "pr_ms": 160.0, "qrsd_ms": 150.0, "qt_ms": 400.0, "sokolow_mv": 2.0,
           "p_wave_present": True, "rr_cv": 0.02}  # fmt: skip
    assert group_of_row({"ecg": ecg, "facts": {}, "stated_group": ""}) == ("bundle branch block", MEASURED)
    assert group_of_row({"ecg": ecg, "facts": {}, "stated_group": "normal"}) == ("normal", STATED)


def test_real_recordings_have_the_groups_that_their_readers_state(shared_data):
    found = {path.stem: stated_group(statements_of(path)) for path in (shared_data / "ecg" / "diagnoses").glob("*.hea")}
    assert len(found) == 12
    assert set(found.values()) <= set(GROUPS)
    assert stated_group(statements_of(shared_data / "ecg" / "cardiosoft_ukb_layout.xml")) == "hypertrophy"
    assert stated_group(statements_of(shared_data / "ecg" / "HR06004.hea")) == "normal"
