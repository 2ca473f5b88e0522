"""Times of a DICOM cine are checked before they are believed."""

import numpy as np
import pytest
from COFGeneratorLib.anatomy import read_cine
from COFGeneratorLib.cases.register import cycle_length_ms, open_end
from COFGeneratorLib.errors import AnatomyError

T, D = 10, 5
RR_MS = 900.0
EVEN = RR_MS * np.arange(T) / T


@pytest.fixture(scope="module")
def cine() -> np.ndarray:
    """(T, D, H, W): phase and slice can be read off every voxel."""
    t, k, j, i = np.meshgrid(*[np.arange(n) for n in (T, D, 16, 18)], indexing="ij")
    return (1000 * t + 100 * k + (7 * j + 3 * i) % 97).astype(np.uint16)


@pytest.fixture
def read(tmp_path, cine, oblique, dicom_cine, save_dicom):
    """Return a reader of the cine after its datasets were changed by ``change(dataset, k, t)``."""

    def make(change, one_series=True):
        datasets = dicom_cine(cine, oblique, one_series=one_series)
        for number, dataset in enumerate(datasets):
            change(dataset, number // T, number % T)
        return read_cine(save_dicom(tmp_path / "d", datasets))

    return make


def clock(trigger):
    """Return a change that sets the trigger time by slice and phase."""

    def change(dataset, k, t):
        dataset.TriggerTime = round(float(trigger(k, t)), 6)

    return change


@pytest.mark.parametrize(
    ("trigger", "times", "said"),
    [
        (lambda k, t: 90 * t + 12_000 * k, EVEN, "start of the scan"),
        (lambda k, t: 90 * t + 50_000, EVEN, "start of the scan"),
        (lambda k, t: 0.09 * t, EVEN, "in s only"),
        (lambda k, t: 90_000 * t, EVEN, "in µs only"),
        (lambda k, t: 20 + 72 * t, 20 + 72 * np.arange(T), "cover 80 % of the R–R"),
    ],
)
def test_clocks_are_brought_to_ms_from_the_r_wave(read, cine, trigger, times, said):
    stack = read(clock(trigger))
    np.testing.assert_array_equal(stack.frames, cine)
    np.testing.assert_allclose(stack.frame_times_ms, times, atol=0.1)
    assert stack.rr_ms == RR_MS
    assert any(said in w for w in stack.warnings)


def test_times_beyond_the_next_r_wave_belong_to_the_next_beat(read, cine):
    stack = read(clock(lambda k, t: 450 + 90 * t))
    np.testing.assert_array_equal(stack.frames, np.roll(cine, -T // 2, axis=0))
    np.testing.assert_allclose(stack.frame_times_ms, EVEN, atol=0.1)


OWN_RR = (700.0, 800.0, 900.0, 1000.0, 850.0)


@pytest.mark.parametrize(
    ("beats", "first", "said"),
    [
        (1.0, lambda k: 4, "matched by phase"), (2.0, lambda k: 0, "2.0 heart beats"),
        (1.5, lambda k: 0, "1.5 heart beats"), (2.0, lambda k: 120_000 * k, "start of the scan"),
    ],
)  # fmt: skip
def test_every_slice_is_judged_by_the_beat_of_its_own_breath_hold(
    tmp_path, cine, oblique, dicom_cine, save_dicom, beats, first, said
):
    longer = np.concatenate([cine, cine])[: round(beats * T)]
    datasets = dicom_cine(longer, oblique, rr_ms=np.array(OWN_RR), one_series=True)
    for number, dataset in enumerate(datasets):
        k, t = divmod(number, len(longer))
        dataset.TriggerTime = round(OWN_RR[k] / T * (first(k) + t), 3)
    stack = read_cine(save_dicom(tmp_path / "d", datasets))
    np.testing.assert_array_equal(stack.frames, np.roll(cine, first(0), axis=0))
    np.testing.assert_allclose(stack.frame_times_ms, 85.0 * np.arange(T), atol=0.1)
    assert any(said in w for w in stack.warnings)


def test_one_slice_of_two_beats_gives_its_first(tmp_path, cine, oblique, dicom_cine, save_dicom):
    twice = np.concatenate([cine, cine + np.uint16(50)])
    datasets = dicom_cine(twice, oblique, rr_ms=2 * RR_MS, keep=lambda k, t: t < T or k == 2, one_series=True)
    for dataset in datasets:
        dataset.NominalInterval = RR_MS
    stack = read_cine(save_dicom(tmp_path / "d", datasets))
    np.testing.assert_array_equal(stack.frames, cine)
    assert any("2.0 heart beats" in w for w in stack.warnings)


def test_images_before_the_r_wave_are_the_end_of_the_beat(read, cine):
    stack = read(clock(lambda k, t: 90 * t if t < 8 else 90 * (t - T)))
    np.testing.assert_array_equal(stack.frames, cine)
    np.testing.assert_allclose(stack.frame_times_ms, EVEN, atol=0.1)
    assert any(f"{2 * D} images were taken before the R wave" in w for w in stack.warnings)


def test_of_two_beats_the_first_is_used(tmp_path, cine, oblique, dicom_cine, save_dicom):
    twice = np.concatenate([cine, cine + np.uint16(50)])
    datasets = dicom_cine(twice, oblique, rr_ms=2 * RR_MS)
    for dataset in datasets:
        dataset.NominalInterval = RR_MS
    stack = read_cine(save_dicom(tmp_path / "d", datasets))
    np.testing.assert_array_equal(stack.frames, cine)
    np.testing.assert_allclose(stack.frame_times_ms, EVEN, atol=0.1)
    assert any("2.0 heart beats" in w for w in stack.warnings)


@pytest.mark.parametrize(("beats", "used", "said"), [(1.5, 10, "1.5 heart beats"), (1.2, 12, "more than the stated")])
def test_a_part_of_a_second_beat_is_left_out_and_a_slow_one_is_kept(
    tmp_path, cine, oblique, dicom_cine, save_dicom, beats, used, said
):
    longer = np.concatenate([cine, cine + np.uint16(50)])[: round(beats * T)]
    datasets = dicom_cine(longer, oblique, rr_ms=beats * RR_MS)
    for dataset in datasets:
        dataset.NominalInterval = RR_MS
    stack = read_cine(save_dicom(tmp_path / "d", datasets))
    np.testing.assert_array_equal(stack.frames, longer[:used])
    np.testing.assert_allclose(stack.frame_times_ms, 90.0 * np.arange(used), atol=0.1)
    assert stack.rr_ms == pytest.approx(90.0 * used)
    assert any(said in w for w in stack.warnings)


def test_a_long_beat_that_no_interval_confirms_is_doubted(read):
    def change(dataset, k, t):
        dataset.TriggerTime = 180.0 * t
        del dataset.NominalInterval

    assert any("a slow heart, or two beats" in w for w in read(change).warnings)


def test_a_prospective_cine_leaves_the_rest_of_the_beat_open(read):
    stack = read(clock(lambda k, t: 20 + 72 * t))
    assert cycle_length_ms(stack.frame_times_ms) == pytest.approx(720)
    assert open_end(stack.frame_times_ms, stack.rr_ms) == stack.frame_times_ms
    assert open_end(tuple(EVEN), RR_MS) is None


def _still(dataset):
    dataset.TriggerTime = 0
    dataset.InstanceNumber = 1


@pytest.mark.parametrize("kind", ["percent", "reference", "position"])
def test_other_clocks_take_over_where_the_trigger_stands_still(read, cine, kind):
    def change(dataset, k, t):
        _still(dataset)
        if kind == "percent":
            dataset.NominalPercentageOfCardiacPhase = 10.0 * t
        elif kind == "reference":
            dataset.FrameReferenceTime = 90.0 * t + 30_000
        else:
            dataset.TemporalPositionIdentifier = t + 1

    stack = read(change)
    np.testing.assert_array_equal(stack.frames, cine)
    np.testing.assert_allclose(stack.frame_times_ms, EVEN, atol=0.1)
    assert not any("guess, by instance" in w for w in stack.warnings)


def test_order_by_instance_number_is_said_to_be_a_guess_and_no_order_is_refused(read, cine):
    def numbered(dataset, k, t):
        del dataset.TriggerTime

    stack = read(numbered)
    np.testing.assert_array_equal(stack.frames, cine)
    assert any("guess, by instance numbers" in w for w in stack.warnings)
    with pytest.raises(AnatomyError, match="in this cine none of them differs"):
        read(lambda dataset, k, t: _still(dataset))


def test_a_clock_that_makes_no_heart_beat_is_passed_over(read, cine):
    stack = read(clock(lambda k, t: 0.000_01 * t))
    np.testing.assert_array_equal(stack.frames, cine)
    assert any("make no heart beat" in w for w in stack.warnings)
