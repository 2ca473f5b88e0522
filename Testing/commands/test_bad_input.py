"""Every bad input gets its own clear message, exit code 2, no traceback, and leaves nothing behind."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from COFGeneratorLib.ecg.record import LEADS

FS_HZ = 500.0


@pytest.fixture
def refused(cof, generate_words, tmp_path):
    """Return a function that generates with bad arguments and checks how that is refused."""

    def check(message, **changes):
        before = sorted(tmp_path.rglob("*"))
        run = cof(*generate_words(out=tmp_path / "new" / "result", **changes))
        assert run.code == 2, run
        assert message.lower() in run.err.lower()
        assert "Traceback" not in run.err
        assert run.out == ""
        assert sorted(tmp_path.rglob("*")) == before

    return check


def beats(seconds=10.0):
    """Return twelve leads of clean beats, (12, L) mV."""
    time_s = np.arange(int(seconds * FS_HZ)) / FS_HZ
    beat = sum(np.exp(-(((time_s - at) / 0.012) ** 2)) for at in np.arange(0.3, seconds, 0.85))
    gains = np.array([0.7, 1.0, 0.3, -0.85, 0.2, 0.65, -0.5, -0.3, 0.6, 1.2, 1.1, 0.8])
    return gains[:, None] * beat + np.random.default_rng(0).normal(0, 0.004, (12, time_s.size))


@pytest.mark.parametrize("content", [b"", b"hello, heart\n", bytes(range(256)) * 40, b"<?xml version='1.0'?><a/>"])
def test_a_file_that_is_no_ecg(refused, tmp_path, content):
    path = tmp_path / "ecg.xml"
    path.write_bytes(content)
    refused("ECG", ecg=path)


def test_an_image_given_as_the_ecg(refused, a_patient):
    refused("ECG", ecg=a_patient.anchor)


def test_an_ecg_of_eleven_leads(refused, write, tmp_path):
    write.ecg(tmp_path / "ecg.csv", beats()[:11], leads=LEADS[:11])
    refused("V6", ecg=tmp_path / "ecg.csv")


def test_an_ecg_with_missing_samples(refused, write, tmp_path):
    signal = beats()
    signal[3, 700:800] = np.nan
    write.ecg(tmp_path / "ecg.csv", signal)
    refused("misses 0.20 s", ecg=tmp_path / "ecg.csv")


def test_an_ecg_whose_leads_are_flat(refused, write, tmp_path):
    write.ecg(tmp_path / "ecg.csv", np.zeros((12, 5000)))
    refused("flat", ecg=tmp_path / "ecg.csv")


def test_an_ecg_of_half_a_second(refused, write, tmp_path):
    write.ecg(tmp_path / "ecg.csv", beats(0.5))
    refused("found 0.50 s", ecg=tmp_path / "ecg.csv")


def test_an_ecg_of_two_seconds_tells_no_rhythm(refused, write, tmp_path):
    write.ecg(tmp_path / "ecg.csv", beats(2.0))
    refused("found 2.00 s", ecg=tmp_path / "ecg.csv")


def test_an_ecg_that_is_not_there(refused, tmp_path):
    refused("ECG", ecg=tmp_path / "nowhere.csv")


def image(tmp_path, voxels, is_vector=False):
    path = tmp_path / "anchor.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(voxels, isVector=is_vector), str(path))
    return path


def test_a_single_slice(refused, tmp_path):
    refused("this NRRD is 2-D", anchor=image(tmp_path, np.ones((64, 64), np.float32)))


def test_a_colour_volume(refused, tmp_path):
    refused("vector voxels", anchor=image(tmp_path, np.ones((8, 64, 64, 3), np.uint8), is_vector=True))


def test_a_volume_with_missing_voxels(refused, write, tmp_path):
    voxels = np.random.default_rng(0).normal(100, 20, (8, 64, 64)).astype(np.float32)
    voxels[2, 5] = np.nan
    write.volume(tmp_path / "anchor.nrrd", voxels, np.diag([-2.0, -2.0, 8.0, 1.0]))
    refused("missing or infinite", anchor=tmp_path / "anchor.nrrd")


def test_a_volume_without_spacing(refused, tmp_path):
    voxels = np.random.default_rng(0).integers(0, 900, (8, 64, 64)).astype("<i2")
    header = (
        "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 64 64 8\n"
        "space directions: (0,0,0) (0,2,0) (0,0,8)\nkinds: domain domain domain\nendian: little\nencoding: raw\n"
        "space origin: (0,0,0)\n\n"
    )
    (tmp_path / "anchor.nrrd").write_bytes(header.encode() + voxels.tobytes())
    refused("spacing", anchor=tmp_path / "anchor.nrrd")


def test_a_file_that_is_no_volume(refused, a_patient):
    refused("Expected a short-axis stack", anchor=a_patient.ecg)


def test_a_volume_cut_short(refused, a_patient, tmp_path):
    content = a_patient.anchor.read_bytes()
    (tmp_path / "anchor.nrrd").write_bytes(content[: len(content) // 2])
    refused("", anchor=tmp_path / "anchor.nrrd")


def test_a_frame_that_the_anchor_lacks(refused):
    refused("frame", anchor_frame=7)


def test_a_region_of_interest_beside_the_stack(refused):
    refused("must overlap the stack", roi="900 990 0 40 0 40")


def test_a_region_of_interest_without_a_heart(refused):
    refused("labels given has its centre at", roi="30 42 30 42 30 42")


def test_a_beat_that_the_ecg_lacks(refused):
    refused("must be one of 0", beat="99")
    refused("within a complete R–R", beat="99s")


def test_labels_without_a_heart(refused, write, a_patient, tmp_path):
    empty = sitk.ReadImage(str(a_patient.labels)) * 0
    sitk.WriteImage(empty, str(tmp_path / "labels.nrrd"))
    refused("label", labels=tmp_path / "labels.nrrd")


def test_labels_read_with_the_wrong_codes(refused):
    refused("label", label_map="lv=3,myo=2,rv=1")


@pytest.mark.parametrize("codes", ["lv", "lv=one", "lv=1,heart=2", "lv=1,lv=2", ""])
def test_label_codes_that_cannot_be_read(refused, codes):
    refused("expected codes as in lv=3,myo=2,rv=1", label_map=codes)


def altered(a_bundle, tmp_path, change):
    """Copy the bundle and change one file of it; returns the copy."""
    folder = tmp_path / "model"
    shutil.copytree(a_bundle, folder)
    change(folder)
    return folder


def cut(folder):
    path = next((folder / "models").glob("*.safetensors"))
    path.write_bytes(path.read_bytes()[:-100])


def change_a_weight(folder):
    path = next((folder / "models").glob("*.safetensors"))
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def cut_metadata(folder):
    path = folder / "configs" / "metadata.json"
    path.write_text(path.read_text()[:200])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (cut, "truncated or was altered"),
        (change_a_weight, "truncated or was altered"),
        (cut_metadata, "metadata.json"),
        (lambda folder: shutil.rmtree(folder / "models"), "missing"),
        (lambda folder: shutil.rmtree(folder / "configs"), "metadata.json"),
    ],
)
def test_a_bundle_that_is_damaged(refused, a_bundle, tmp_path, change, message):
    refused(message, model=altered(a_bundle, tmp_path, change))


def test_a_bundle_without_a_segmenter_needs_labels(refused):
    refused("--labels", labels=None, label_map=None)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("frames", 1, "at least 4 frames"),
        ("frames", 100_000, "frames"),
        ("samples", 0, "number from 1"),
        ("steps", "many", "number from 1"),
        ("seed", -1, "--seed"),
        ("solver", "magic", "solver"),
        ("device", "gpu", "auto, cpu"),
        ("device", "cuda:99", "cuda:99"),
    ],
)
def test_settings_out_of_range(refused, option, value, message):
    refused(message, **{option: value})


def test_what_cannot_be_read_is_refused_before_anything_heavy_is_loaded(repository, tmp_path):
    script = (
        "import sys; from COFGeneratorLib.cli import main; "
        f"code = main(['generate', '--anchor', 'no.nrrd', '--ecg', 'no.hea', '--out', {str(tmp_path / 'r')!r}]); "
        "print(code, sorted({'torch', 'monai', 'matplotlib', 'slicer'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=repository / "COFGenerator",
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert run.stdout.strip() == "2 []"
