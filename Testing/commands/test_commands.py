"""The other sub-commands, help, and what the command line imports."""

import json
import subprocess
import sys

import pytest
from PIL import Image

from_module = [sys.executable, "-m", "COFGeneratorLib"]


@pytest.mark.parametrize("command", ["demo", "generate", "ecg", "batch", "bundle", "bundle verify", "bundle export"])
def test_every_command_explains_itself(cof, command):
    run = cof(*command.split(), "--help")
    assert run.code == 0
    assert "usage: cof" in run.out


def test_no_command_and_unknown_commands_are_refused(cof):
    assert cof().code == 2
    assert cof("heal").code == 2


def test_the_solvers_offered_are_those_of_the_sampler():
    from COFGeneratorLib.cases.values import SOLVERS
    from COFGeneratorLib.generator.networks import sampler

    assert SOLVERS == sampler.SOLVERS


def test_the_version_is_told(cof):
    from COFGeneratorLib import __version__

    assert __version__ in cof("--version").out


def test_help_needs_nothing_heavy(repository):
    script = (
        "import sys; from COFGeneratorLib.cli import build_parser; build_parser().format_help(); "
        "heavy = {'torch', 'monai', 'scipy', 'SimpleITK', 'neurokit2', 'matplotlib', 'slicer', 'COFTrainingLib'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", script],
        cwd=repository / "COFGenerator",
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert found.stdout.strip() == "[]"


def test_the_module_runs_as_a_program(repository):
    run = subprocess.run(
        [*from_module, "ecg", "/no/such/file", "--out", "never"],
        cwd=repository / "COFGenerator",
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert run.returncode == 2
    assert run.stderr.splitlines()[-1].startswith("cof: ")  # a busy machine says what it reads before
    assert not (repository / "COFGenerator" / "never").exists()


@pytest.fixture(scope="module")
def an_ecg_result(a_patient, tmp_path_factory):
    from COFTrainingLib.cli import main

    out = tmp_path_factory.mktemp("ecg") / "r"
    assert main(["ecg", str(a_patient.ecg), "--out", str(out), "--quiet"]) == 0
    return out


def test_ecg_writes_the_contracted_measurements(an_ecg_result):
    content = json.loads((an_ecg_result / "ecg.json").read_text())
    for key in "format leads fs_hz duration_s hr_bpm rr_ms pr_ms qrsd_ms qt_ms quality beats warnings".split():  # noqa: SIM905
        assert key in content
    assert content["format"] == "csv"
    assert content["leads"][1] == "II"
    assert content["fs_hz"] == 500.0
    assert content["duration_s"] == 10.0
    assert content["hr_bpm"] == pytest.approx(70.0, abs=4.0)
    assert 10 <= len(content["beats"]) <= 13
    assert sum(beat["representative"] for beat in content["beats"]) == 1
    assert Image.open(an_ecg_result / "ecg.png").size[0] > 1000


def test_a_chosen_beat_is_used_and_one_that_is_not_there_refused(cof, a_patient, tmp_path):
    assert cof("ecg", a_patient.ecg, "--beat", 3, "--out", tmp_path / "r").code == 0
    beats = json.loads((tmp_path / "r" / "ecg.json").read_text())["beats"]
    assert beats[3]["representative"]
    run = cof("ecg", a_patient.ecg, "--beat", 99, "--out", tmp_path / "s")
    assert run.code == 2
    assert not (tmp_path / "s").exists()


def test_bundle_info_and_verify_say_what_a_bundle_is(cof, a_bundle):
    info = cof("bundle", "info", a_bundle)
    assert info.code == 0
    assert json.loads(info.out)["name"] == "tiny"
    verify = cof("bundle", "verify", a_bundle)
    assert verify.code == 0
    assert "tiny 0.0.1" in verify.out


def test_bundle_verify_refuses_a_folder_that_is_none(cof, tmp_path):
    run = cof("bundle", "verify", tmp_path)
    assert run.code == 2
    assert "metadata.json" in run.err


def test_the_generator_alone_has_no_training_commands(repository):
    script = (
        "import sys; sys.modules['COFTrainingLib'] = None; from COFGeneratorLib.cli import main; "
        "sys.exit(main(['train', 'teacher']))"
    )
    program = [sys.executable, "-c", script]
    run = subprocess.run(program, cwd=repository / "COFGenerator", capture_output=True, encoding="utf-8", check=False)
    assert run.returncode == 2
    assert "invalid choice: 'train'" in run.stderr
    assert "generate" in run.stderr


def test_windows_find_their_commands_without_any_package(repository, tmp_path):
    """The probe tells what is missing, so it needs nothing itself; help keeps quiet about it."""
    script = "import sys; from COFGeneratorLib.cli import main; sys.exit(main(sys.argv[1:]))"
    out = tmp_path / "probe.json"
    program = [sys.executable, "-S", "-c", script, "probe", "--out", str(out)]
    subprocess.run(program, cwd=repository / "COFGenerator", check=True)
    facts = json.loads(out.read_text("utf-8"))
    assert facts["packages"]["numpy"] == ""
    assert "torch" in facts["torch_error"]


def test_cof_offers_the_commands_of_both_floors(cof):
    words = cof("--help").out
    for command in ("generate", "batch", "bundle", "cohort", "train", "evaluate", "benchmark", "ecgflowcmr"):
        assert f"\n    {command}" in words
    assert "probe" not in words
