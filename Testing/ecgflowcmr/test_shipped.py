"""The bundle that ships: its phase head on real records, and that rate and strength of a heart move what is drawn."""

import numpy as np
import pytest
import torch
from COFGeneratorLib.ecg.beats import analyse_ecg
from COFGeneratorLib.ecg.readers import read_ecg
from COFGeneratorLib.ecgflowcmr.bundle import load_ecgflow_bundle
from COFGeneratorLib.resources import model_bundles
from COFTrainingLib.phantom.electrocardiogram import synthesise_ecg
from COFTrainingLib.phantom.physiology import draw_physiology
from COFTrainingLib.studies.ecgflowcmr.heldout import cines_of, draw_held_out, fac_and_es
from COFTrainingLib.studies.ecgflowcmr.rhythm_check import boundary_errors

pytestmark = pytest.mark.slow

RECORDS = (
    "cardiosoft_ukb_layout.xml", "muse.xml", "philips_sierra_1_04_01.xml", "hl7_aecg.xml", "dicom_12lead.dcm",
    "scp_huffman.scp", "HR06000.hea", "HR06001.hea", "HR06004.hea", "E07500.hea", "00001_lr.hea", "s0010_re.hea",
    "code_15_1238362.mat",
)  # fmt: skip


@pytest.fixture(scope="module")
def shipped():
    """Return the bundle that ships, loaded."""
    (folder,) = model_bundles("ecgflowcmr")
    return load_ecgflow_bundle(folder)


def test_cycles_of_real_records_begin_at_r(shipped, shared_data):
    for name in RECORDS:
        (path,) = (shared_data / "ecg").rglob(name)
        record = read_ecg(path)
        found = boundary_errors(shipped.model.amdf.pa_mae, record, analyse_ecg(record).r_peaks_s * 1000.0)
        assert len(found["away_ms"]) >= 5, name
        assert np.abs(found["away_ms"]).max() <= 20.0, name


def test_a_faster_heart_ends_systole_later_in_its_cycle(shipped):
    ends = []
    for rate in (50.0, 90.0):
        case = draw_held_out(7_900_001, shipped, 1, hr_bpm=rate, atrial_fibrillation=False, conduction="")
        cine = cines_of(shipped, *shipped.model.read([case.record])[:2], seed=1)[0]
        ends.append(
            (50 * fac_and_es(shipped, cine, case.truth.rr_ms)[1], 50 * case.truth.es_time_ms / case.truth.rr_ms)
        )
    assert ends[1][0] - ends[0][0] > 3.0
    assert ends[1][0] - ends[0][0] == pytest.approx(ends[1][1] - ends[0][1], abs=3.0)


def test_a_weaker_heart_is_read_from_its_ecg_and_contracts_less(shipped):
    head = shipped.model.amdf.pa_mae.phenotype
    told, changes = [], []
    for seed in range(7_900_010, 7_900_016):
        for contractility in (-1.2, 1.8):
            forced = {"contractility": contractility, "infarct_extent": 0.0, "hr_bpm": 62.0, "conduction": ""}
            physiology = draw_physiology(np.random.default_rng([seed, 1]), atrial_fibrillation=False, **forced)
            record = synthesise_ecg(physiology, np.random.default_rng([seed, 9]), premature=0.0)[0]
            tokens, scalars, _ = shipped.model.read([record])
            told.append(float(head.in_units(scalars[:, 2:])["ef"][0]) - physiology.ef)
            cine = cines_of(shipped, tokens, scalars, seed=1)[0]
            changes.append(fac_and_es(shipped, cine, physiology.rr_ms)[0])
    strong, weak = np.array(changes).reshape(-1, 2).T
    assert (strong > weak).all()
    assert (strong - weak).mean() > 8.0  # EF differs by 24 points
    assert np.abs(told).mean() < 0.07


def test_the_model_of_this_engine_is_not_offered_to_the_other():
    assert [folder.name for folder in model_bundles("ecgflowcmr")] == ["ecgflowcmr-small"]
    assert "ecgflowcmr-small" not in [folder.name for folder in model_bundles()]
    assert model_bundles()[0].name == "cof-plus"


def test_phantoms_still_show_the_body_and_scan_that_the_model_learned_from(shipped):
    """A new draw anywhere in the phantom would give its shared body another contrast, and studies other real cines."""
    for seed in (7_900_000, 7_900_001, 7_900_002):
        case = draw_held_out(seed, shipped, body=1)
        fac, es = fac_and_es(shipped, torch.from_numpy(case.clip).float() / 255.0, case.truth.rr_ms)
        assert fac == pytest.approx(case.truth.fac_percent, abs=8.0)
        assert es == pytest.approx(case.truth.es_time_ms / case.truth.rr_ms, abs=0.04)
