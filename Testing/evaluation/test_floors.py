"""What can be known of EF without a network; and an ECG that is shifted with its anchor."""

import numpy as np
import pytest
from COFGeneratorLib.ecg.cycle import BEAT_FS_HZ, BEAT_R_SAMPLE, BEAT_SAMPLES, EcgCycle
from COFTrainingLib.evaluation.plan import Plan
from COFTrainingLib.evaluation.protocols import floors
from COFTrainingLib.evaluation.run import CINE, REFERENCE
from COFTrainingLib.evaluation.shifted_ecg import shifted_cycle
from COFTrainingLib.evaluation.store import Store


def test_leaving_one_out_never_uses_the_subject_itself():
    values = np.array([10.0, 20.0, 60.0, np.nan])
    np.testing.assert_allclose(floors.leave_one_out_means(values), [40.0, 35.0, 15.0, 30.0])
    found = floors.leave_one_out_means(values, ["a", "a", "b", "b"])
    np.testing.assert_allclose(found, [20.0, 10.0, 15.0, 60.0])  # alone in its group, the others stand in


def test_a_ridge_finds_a_line_and_keeps_quiet_with_few_subjects():
    x = np.linspace(-2.0, 2.0, 40)
    found = floors.leave_one_out_ridge(np.column_stack([x, np.full(40, np.nan)]), 50.0 + 10.0 * x)
    assert np.abs(found - 50.0 - 10.0 * x).max() < 1.5
    assert np.isnan(floors.leave_one_out_ridge(x[:5, None], x[:5])).all()


def test_the_report_sets_methods_beside_what_can_be_known(tmp_path):
    store = Store(tmp_path / "store")
    for n in range(12):
        ef = 30.0 + 3.0 * n
        ecg = {"rr_ms": 900.0 + n, "qrsd_ms": 90.0, "qt_ms": 400.0, "sokolow_mv": 2.0, "cornell_mv": 1.0}
        facts = {"group": "DCM" if n < 6 else "NOR", "ef_percent": ef + 1.0}
        metrics = {"ef_percent": ef, "edv_ml": 200.0 - 5.0 * n, "ecg_oracle_ef_percent": ef + 2.0}
        store.add({"subject": f"s{n:02d}", "method": REFERENCE, "kind": REFERENCE, "identity": "", "metrics": metrics,
                   "ecg": ecg, "facts": facts})  # fmt: skip
        made = {"ef_percent": ef - 4.0, "ef_error_points": -4.0, "valid": 1.0}
        store.add({"subject": f"s{n:02d}", "method": "copy anchor", "kind": CINE, "identity": "", "metrics": made})
    section = floors.summarise(Plan(None, tuple(f"s{n:02d}" for n in range(12))), store)
    assert section.numbers["all that the ECG was drawn to show"] == pytest.approx(2.0)
    assert section.numbers["the EF that was measured for the ECG"] == pytest.approx(1.0)
    assert (
        section.numbers["diagnosis: mean EF of the others of the group"]
        < section.numbers["constant: mean EF of the others"]
    )
    assert section.numbers["the heart’s size: ridge on EDV"] < 3.0
    rows = {row[0]: row for row in section.tables[0].rows}
    assert rows["copy anchor"][2] == "-4.00"


@pytest.fixture
def cycle():
    """An ECG of 900 ms with a spike at R and a wave 300 ms after it, in every lead."""

    def wave(ms):
        return np.exp(-0.5 * (ms / 12.0) ** 2) + 0.3 * np.exp(-0.5 * ((ms - 300.0) / 40.0) ** 2)

    periodic = lambda ms: sum(wave(ms + turn * 900.0) for turn in (-1, 0, 1))  # noqa: E731
    one = periodic(np.arange(450) * 2.0)
    beat = periodic((np.arange(BEAT_SAMPLES) - BEAT_R_SAMPLE) / BEAT_FS_HZ * 1000.0)
    return EcgCycle(
        cycle_mv=np.tile(one, (12, 1)), beat_mv=np.tile(beat, (12, 1)).astype(np.float32), fs_hz=500.0,
        r_peaks_s=np.arange(10) * 0.9, accepted=np.ones(10, bool), representative=0, rr_ms=900.0, p_onset_ms=-150.0,
        qrs_onset_ms=-40.0, qrs_offset_ms=40.0, t_peak_ms=300.0, t_end_ms=380.0, axis_deg=30.0, sokolow_mv=1.0,
        cornell_mv=1.0, p_wave_present=True, rr_cv=0.0, quality=1.0, t_end_source="delineated",
    )  # fmt: skip


def test_an_unshifted_ecg_is_what_it_was(cycle):
    np.testing.assert_allclose(shifted_cycle(cycle, 0.0).beat_mv, cycle.beat_mv, atol=0.02)
    np.testing.assert_allclose(shifted_cycle(cycle, 1.0).cycle_mv, cycle.cycle_mv)


def test_a_shifted_ecg_begins_at_its_phase_and_keeps_its_measurements(cycle):
    third = shifted_cycle(cycle, 1.0 / 3.0)  # the wave at 300 ms comes first
    assert third.cycle_mv[0, 0] == pytest.approx(cycle.cycle_mv[0, 150])
    assert third.beat_mv[0, BEAT_R_SAMPLE] == pytest.approx(0.3, abs=0.02)
    assert int(third.beat_mv[0].argmax()) == BEAT_R_SAMPLE + round(0.6 * BEAT_FS_HZ)  # R, 600 ms later
    assert (third.qt_ms, third.rr_ms) == (cycle.qt_ms, cycle.rr_ms)
    assert third.single_mv.shape == (0, 12, BEAT_SAMPLES)


def test_the_papers_vectors_of_a_subject_are_means_and_ordered_frames():
    from COFTrainingLib.evaluation.features import PAPER_PHASES, packed, subject_vectors, unpacked

    images = np.random.default_rng(0).random((22, 3, 8, 8))
    image, temporal = subject_vectors(lambda slices: slices.flatten(1)[:, :5], images, middle=1)
    flat = images.astype(np.float32).reshape(22, 3, -1)[:, :, :5]
    np.testing.assert_allclose(image, flat.mean(axis=(0, 1)), rtol=1e-5)
    np.testing.assert_allclose(temporal, flat[np.arange(PAPER_PHASES) * 2, 1].reshape(-1), rtol=1e-5)
    np.testing.assert_allclose(unpacked(packed(temporal)), temporal, rtol=1e-6)


def test_the_papers_distance_is_scipys_fretchet_in_full_dimension(tmp_path):
    from COFTrainingLib.evaluation.features import packed
    from COFTrainingLib.evaluation.protocols.image_table import papers_distances
    from scipy.linalg import sqrtm

    rng, store, kept = np.random.default_rng(0), Store(tmp_path / "store"), {}
    for method, shift in ((REFERENCE, 0.0), ("m", 0.5)):
        kept[method] = rng.normal(shift, 1.0, (40, 4))
        for n, vector in enumerate(kept[method]):
            row = {"papers_image": packed(vector), "papers_temporal": packed(np.tile(vector, 2))}
            kind = REFERENCE if method == REFERENCE else CINE
            store.add({"subject": f"s{n}", "method": method, "kind": kind, "identity": "", "features": row})
    table = papers_distances(store, ["m"])
    one, other = kept[REFERENCE], kept["m"]
    cov = [np.cov(part.T) for part in (one, other)]
    exact = ((one.mean(0) - other.mean(0)) ** 2).sum() + np.trace(cov[0] + cov[1] - 2 * sqrtm(cov[0] @ cov[1]).real)
    shown = float(table.rows[0][2].split(" ±")[0])
    assert shown == pytest.approx(exact, rel=0.25)  # of subsamples of 80 %
    assert table.rows[1][0].startswith("half of the recorded")
    assert papers_distances(Store(tmp_path / "empty"), ["m"]) is None


def test_the_distance_of_anchors_needs_eight_subjects():
    from COFTrainingLib.evaluation.features import packed
    from COFTrainingLib.evaluation.protocols.anchor_phase import _distance

    rng = np.random.default_rng(1)
    recorded = {f"s{n}": (rng.normal(size=6), True) for n in range(9)}
    same = [{"subject": name, "temporal": packed(vector)} for name, (vector, _) in recorded.items()]
    assert float(_distance(recorded, same).split()[0]) == pytest.approx(0.0, abs=1e-6)
    assert _distance(recorded, same[:7]) == "–"
