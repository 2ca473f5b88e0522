"""The measure on real hearts: what is equal scores best, what is planted is found, every bar bites, and it all runs."""

import json

import numpy as np
import pytest
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.function import VolumeCurves
from COFTrainingLib.cohort.case_list import ListedCine, read_case_list
from COFTrainingLib.studies.real_motion.arms import COPY, MEAN, NORMAL, ORACLE, OWN, RECORDED
from COFTrainingLib.studies.real_motion.figures import contraction_at, figures_of, sharpness
from COFTrainingLib.studies.real_motion.hearts import RealHeart, registered_frames
from COFTrainingLib.studies.real_motion.moved import Moved, standing_still
from COFTrainingLib.studies.real_motion.run import HeartResult, Setting, run_hearts
from COFTrainingLib.studies.real_motion.summary import BARS, means, missed_bars, report_of, summarise, table_of
from scipy.ndimage import gaussian_filter

COUNT, ES = 20, 8


@pytest.fixture(scope="module")
def heart() -> RealHeart:
    """Return a ring that contracts by a cosine, bright inside, on a textured ground."""
    rng = np.random.default_rng(0)
    j, i = np.mgrid[:64, :64] - 31.5
    radius = np.hypot(j, i)
    early = np.interp(np.arange(COUNT) / COUNT, [0.0, ES / COUNT, 1.0], [0.0, 0.5, 1.0])
    share = 0.5 * (1.0 - np.cos(2 * np.pi * early))
    inner = 14.0 - 5.0 * share
    outer = np.sqrt(22.0**2 - 14.0**2 + inner**2)
    labels = np.zeros((COUNT, 3, 64, 64), dtype=np.uint8)
    for frame in range(COUNT):
        labels[frame][:, radius < outer[frame]] = 2
        labels[frame][:, radius < inner[frame]] = 1
    labels[:, :, 30:34, 2:6] = 3
    texture = gaussian_filter(rng.normal(0.0, 20.0, (3, 64, 64)), (0, 1, 1))
    frames = (np.array([40.0, 200.0, 80.0, 190.0])[labels] + texture).astype(np.float32)
    matrix = np.diag([1.5, 1.5, 10.0, 1.0])
    volume = [(labels == code).sum(axis=(1, 2, 3)) * 0.0225 for code in (1, 2, 3)]
    case = ListedCine("ring", "none", 0, ES, group="NOR")
    return RealHeart(
        case, SaxStack(frames[0], matrix), frames, labels, VolumeCurves(*map(np.asarray, volume)), ES, "reader",
        labels[[0, ES]],
    )  # fmt: skip


def test_the_recorded_cine_is_like_itself_and_a_still_picture_is_not(heart):
    itself = figures_of(heart, Moved(heart.frames, heart.labels, heart.curves))
    assert (itself["psnr_es_db"], itself["ssim_es"], itself["dice_wall"]) == (100.0, pytest.approx(1.0), 1.0)
    assert itself["curve_percent"] == itself["es_error"] == 0.0
    still = figures_of(heart, standing_still(heart.anchor, heart.labels[0], COUNT))
    assert still["psnr_es_db"] < 20.0
    assert still["dice_lv"] < 0.85
    assert still["ef_error_points"] == pytest.approx(-heart.ef_percent)
    assert (still["sharpness_es"], still["sharpness_first"], still["far_change_percent"]) == (1.0, 1.0, 0.0)
    assert np.isnan(still["contraction_10"])


def test_blur_lowers_sharpness_and_a_late_beat_shows(heart):
    blurred = heart.frames.copy()
    blurred[1:] = gaussian_filter(blurred[1:], (0, 0, 1, 1))
    found = figures_of(heart, Moved(blurred, heart.labels, heart.curves))
    assert found["sharpness_es"] < 0.9
    assert sharpness(heart.frames)[0] > sharpness(blurred)[1]
    late = VolumeCurves(
        *(np.roll(curve, 2) for curve in (heart.curves.lv_ml, heart.curves.myocardium_ml, heart.curves.rv_ml))
    )
    found = figures_of(heart, Moved(heart.frames, heart.labels, late))
    assert found["es_bias"] == pytest.approx(0.1, abs=0.01)
    assert found["curve_percent"] > 3.0
    told = figures_of(heart, Moved(heart.frames, heart.labels, heart.curves, 40.0, 30.0, asked_ef_percent=41.0))
    assert told["asked_error_points"] == -1.0


def test_contraction_is_read_between_frames():
    phase = np.arange(24) / 24
    curve = 100.0 - 25.0 * (1.0 - np.cos(2 * np.pi * phase))
    expected = [0.5 * (1.0 - np.cos(2 * np.pi * at)) for at in (0.1, 0.2, 0.9)]
    assert contraction_at(curve) == pytest.approx(expected, abs=0.01)
    assert registered_frames(25, 9) == [1, 2, 5, 9, 12, 15, 19, 22]


def _result(name: str, group: str, edv_ml: float, ef: float, notes: tuple[str, ...] = ()) -> HeartResult:
    """Return a heart whose arms are all as they should be."""
    figures = {
        "psnr_db": 20.0, "psnr_es_db": 18.0, "ssim": 0.7, "ssim_es": 0.6, "sharpness_es": 0.95, "sharpness_first": 1.0,
        "far_change_percent": 0.1, "dice_lv": 0.9, "dice_wall": 0.8, "dice_rv": 0.8, "ef_percent": ef,
        "ef_error_points": 0.0, "rvef_percent": 45.0, "rvef_error_points": 0.0, "curve_percent": 2.0, "es_phase": 0.4,
        "es_error": 0.01, "es_bias": 0.0, "contraction_10": 0.3, "contraction_20": 0.7, "contraction_90": 0.1,
        "asked_error_points": 0.1,
    }  # fmt: skip
    copy = {**figures, "psnr_db": 18.0, "psnr_es_db": 15.0, "dice_lv": 0.7, "dice_wall": 0.5, "dice_rv": 0.7}
    under_normal = {**figures, "ef_percent": 60.0 if edv_ml < 220 else 40.0}
    arms = {RECORDED: figures, COPY: copy, OWN: figures, NORMAL: under_normal, ORACLE: figures, MEAN: figures}
    extra = {"ef_change_fewer_slices_points": 1.0, "segmenter_rv_es": 0.9, "segmenter_rvef_error_points": 3.0,
             "segmenter_wall_percent": -4.0}  # fmt: skip
    heart = {"name": name, "group": group, "edv_ml": edv_ml, "ef_percent": ef}
    return HeartResult(heart, arms, {OWN: ("axes",), NORMAL: ("axes", *notes)}, extra)


def test_every_bar_holds_where_all_is_well_and_each_can_be_missed():
    results = [_result("a", "NOR", 130.0, 60.0), _result("b", "DCM", 260.0, 20.0, ("the heart is dilated",))]
    summary = summarise(results)
    assert missed_bars(summary) == []
    assert summary["dilated_noted_percent"] == 100.0
    for name, (sign, bar) in BARS.items():
        assert np.isfinite(summary[name]), name
        assert len(missed_bars({**summary, name: bar + (1e-3 if sign == "<=" else -1e-3)})) == 1
    unsaid = [results[0], _result("b", "DCM", 260.0, 20.0)]
    assert any("dilated_noted" in text for text in missed_bars(summarise(unsaid)))
    report = json.loads(json.dumps(report_of(results)))
    assert report["groups"]["DCM"][OWN]["ef_percent"] == 20.0
    assert "| oracle | 18.0 |" in table_of(means(results), {"psnr_es_db": ("PSNR", 1)})


@pytest.mark.slow
def test_it_runs_on_a_real_heart_from_the_list_to_the_sheet(shared_data, tiny_bundle_folder, tmp_path):
    from COFGeneratorLib.resources import default_bundle

    cases = [case for case in read_case_list(shared_data / "acdc_cases.json") if case.name == "acdc-010"]
    setting = Setting(
        tiny_bundle_folder,
        default_bundle() / "models" / "segmenter",
        work=tmp_path / "work",
        sheets=tmp_path / "sheets",
    )
    (found,) = run_hearts(cases, setting)
    assert found.heart["labels_from"] == "reader"
    assert found.heart["ef_percent"] == pytest.approx(9.2, abs=0.1)
    assert found.arms[RECORDED]["dice_lv"] == 1.0
    assert set(found.arms) >= {COPY, OWN, NORMAL, ORACLE}
    assert np.isfinite(found.extra["ef_change_fewer_slices_points"])
    assert (tmp_path / "sheets" / "acdc-010.png").stat().st_size > 50_000
    assert list((tmp_path / "work" / "seen").glob("acdc-010-*.npz"))
