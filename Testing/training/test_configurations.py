"""Configurations: small files, read strictly, that say what differs."""

import json
from dataclasses import asdict

import pytest
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.generator.choices import PostProcessing
from COFTrainingLib.cli import main
from COFTrainingLib.training.configurations import FOLDER, KINDS, ablations, configuration_names, read_configuration
from COFTrainingLib.training.loop.run_folder import config_diff

NAMED = ("cof-plus", "cof-v2", "smoke")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", configuration_names())
def test_every_shipped_configuration_reads_for_every_training(kind, name):
    assert isinstance(read_configuration(kind, name), KINDS[kind])


def test_the_three_documented_ones_ship_and_the_default_comes_first():
    assert set(NAMED) <= set(configuration_names())
    assert configuration_names()[0] == "cof-plus"


def test_the_papers_model_is_the_papers():
    paper = read_configuration("flow", "cof-v2")
    assert paper.expected is None
    assert (paper.sampler.draw, paper.after) == (True, PostProcessing(False, False, False, keep_tissue=False))
    assert paper.flow.prediction == "v"
    assert (paper.sampler.solver, paper.sampler.steps) == ("euler", 20)
    assert (paper.flow_epochs, paper.stage.batch, paper.flow_loop.learning_rate) == (1200, 4, 2e-4)
    assert [round(1200 * share) for share in paper.flow_loop.drop_at] == [800, 1000]
    assert paper.flow_loop.schedule == "drops"
    assert paper.tau_draw == "uniform"


def test_the_papers_teacher_is_the_papers():
    paper = read_configuration("teacher", "cof-v2")
    assert (paper.epochs, paper.pairs.batch, paper.loop.learning_rate) == (100, 8, 2e-4)
    assert (paper.objective.reconstruction, paper.objective.segmentation, paper.objective.displacement) == (1, 1, 0)


def test_the_first_version_of_the_paper_runs_in_physical_time():
    first, second = (read_configuration("flow", name) for name in ("cof-v1", "cof-v2"))
    assert (first.flow.prediction, first.stage.batch, first.flow_loop.steps) == ("rate", 32, 8000)
    assert (first.flow_epochs, first.flow_loop.recompute, first.grid) == (0, True, second.grid)
    teacher_loop = read_configuration("teacher", "cof-v1").loop
    assert (teacher_loop.steps, teacher_loop.recompute) == (8000, True)


@pytest.mark.parametrize("name", ablations())
def test_an_ablation_differs_from_the_papers_model_by_one_line(name, capsys):
    assert main(["train", "diff", "cof-v2", name]) == 1
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_the_paper_s_ablations_are_there():
    assert {name.split("/")[1] for name in ablations()} == {
        "no-rea", "spatial-ecg", "no-toppr", "diffusion", "physical-time", "no-max-field", "lambda-seg-0",
        "lambda-seg-0.5", "lambda-seg-3",
    }  # fmt: skip


def test_nothing_differs_from_itself_and_a_run_is_no_configuration(tmp_path, capsys):
    assert main(["train", "diff", "smoke", "smoke"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["train", "diff", "smoke", str(tmp_path)]) == 2
    assert "found none" in capsys.readouterr().err


def test_two_runs_are_told_apart(tmp_path, capsys):
    for name, rate in (("a", 1e-3), ("b", 2e-3)):
        (tmp_path / name / "expected").mkdir(parents=True)
        settings = {"loop": {"learning_rate": rate, "device": name}, "versions": {"torch": f"2.{name}"}}
        (tmp_path / name / "expected" / "config.json").write_text(json.dumps(settings))
    assert main(["train", "diff", str(tmp_path / "a"), str(tmp_path / "b")]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "expected.loop.learning_rate: 0.001 → 0.002", "expected.versions.torch: 2.a → 2.b",
    ]  # fmt: skip


def test_a_file_of_ones_own_changes_what_it_says_and_nothing_else(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('base = "cof-v2"\n[flow]\nflow_epochs = 60\n[flow.expected_loop]\nsteps = 7\n')
    before, after = (asdict(read_configuration("flow", name)) for name in ("cof-v2", path))
    assert config_diff(before, after) == ["expected_loop.steps: 4000 → 7", "flow_epochs: 1200 → 60"]
    assert read_configuration("teacher", path) == read_configuration("teacher", "cof-v2")


def test_a_file_may_change_another_file_and_json_is_read_too(tmp_path):
    (tmp_path / "a.toml").write_text('base = "smoke"\n[flow.stage]\nbatch = 2\n')
    settings = {"expected": False, "flow": {"hidden": 24}, "sampler": {"solver": "euler"}}
    (tmp_path / "b.json").write_text(json.dumps({"base": "a.toml", "flow": settings}))
    both = read_configuration("flow", tmp_path / "b.json")
    assert (both.stage.batch, both.expected, both.flow.hidden, both.grid.phases) == (2, None, 24, 6)


def test_a_network_left_out_can_be_put_back(tmp_path):
    (tmp_path / "a.toml").write_text('base = "cof-v2"\n[flow]\nflow = false\n[flow.expected]\nmodes = 5\n')
    assert read_configuration("flow", tmp_path / "a.toml").expected.modes == 5


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[flow]\nsubjcts = 3\n", "Did you mean subjects"),
        ("[flow.expected_loop]\nlr = 1\n", "found 'lr'"),
        ("[flows]\n", "found flows"),
        ("[flow]\nsubjects = 'many'\n", "flow.subjects is a whole number"),
        ("[flow]\nsubjects = true\n", "flow.subjects is a whole number"),
        ("[flow.stage]\nbatch = 1.5\n", "flow.stage.batch is a whole number"),
        ("[flow]\ngrid = 3\n", "flow.grid is a table"),
        ("[flow.expected]\nwidths = 3\n", "flow.expected.widths is a list"),
        ("[flow]\nexpected = false\nflow = false\n", "found neither"),
        ("[flow.flow]\nhidden = 64\n", "found both"),
        ("[flow.prevalence]\ninfarct = 2.0\n", "between 0 and 1"),
        ("base = 3\n", "name of another"),
        ("base = 'nowhere'\n", "found "),
        ("this is no table", "does not read"),
    ],
)
def test_what_cannot_be_is_refused_by_name(tmp_path, text, words):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        read_configuration("flow", path)


def test_a_circle_of_bases_is_refused(tmp_path):
    (tmp_path / "a.toml").write_text('base = "a.toml"\n')
    with pytest.raises(TrainingError, match="circle"):
        read_configuration("flow", tmp_path / "a.toml")


def test_configurations_stay_small():
    for path in FOLDER.glob("*.toml"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 120, path.name


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("flow", "[flow]\nsubjects = -3", "subjects = -3"),
        ("flow", "[flow.grid]\nshape = [8, 22, 24]", "multiples of 4"),
        ("flow", '[flow]\ntau_draw = "normal"', "tau_draw = 'normal'"),
        ("flow", "[flow]\nflow_epochs = -1", "found -1"),
        ("flow", '[flow.flow_loop]\nschedule = "linear"', "found 'linear'"),
        ("teacher", "[teacher.loop]\ncheckpoint_every = 0", "checkpoint_every = 0"),
        ("ecg", "[ecg.loop]\nema_decay = 1.5", "found 1.5"),
    ],
)
def test_a_value_that_cannot_be_is_refused_before_anything_is_computed(tmp_path, kind, settings, words):
    (tmp_path / "mine.toml").write_text(f'base = "smoke"\n{settings}\n')
    with pytest.raises(TrainingError, match=words):
        read_configuration(kind, tmp_path / "mine.toml")
