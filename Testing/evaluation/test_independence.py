"""Independence of the assessor is read off files: what shares anything is refused, in either direction."""

import json
import shutil

import pytest
import torch
from COFGeneratorLib.anatomy.segmenters.segmenter_network import NetworkConfig, build_network
from COFGeneratorLib.errors import CohortError
from COFGeneratorLib.generator.bundle import save_bundle
from COFGeneratorLib.generator.model import MotionModel
from COFGeneratorLib.generator.networks.ecg_encoder import EcgEncoder, EcgEncoderConfig
from COFGeneratorLib.generator.networks.grid import MotionGrid
from COFGeneratorLib.generator.networks.pack import PackScale
from COFGeneratorLib.weights import save_weights
from COFTrainingLib.cohort.manifest import Cohort, CohortHeader, Subject
from COFTrainingLib.cohort.people import PEOPLE, write_people
from COFTrainingLib.cohort.seeds import SeedBlock, numbered_subjects, seeded_subjects, shared
from COFTrainingLib.evaluation.independence import check_independent, family_of, independence_problems, subjects_of
from COFTrainingLib.training.bundles.provenance import segmenter_of
from COFTrainingLib.training.segmenter.assessor_network import (
    DESCRIPTION,
    FAMILY,
    WEIGHTS,
    AssessorNetwork,
    build_assessor,
)
from COFTrainingLib.training.segmenter.segmenter import STARTED_FROM, SegmenterConfig, subject_seeds
from COFTrainingLib.training.segmenter.segmenter_cache import CacheConfig

SMALL = AssessorNetwork(filters=8, groups=4)
SEGMENTER = NetworkConfig(filters=(8, 12, 16))
MINE = [numbered_subjects("assessor", 41_000_001, 400)]
THEIRS = [numbered_subjects("segmenter", 1, 450)]


def an_assessor(folder, met=MINE, network=None):
    """Write an assessor's folder with given subjects; returns it."""
    folder.mkdir(parents=True)
    torch.manual_seed(5)
    save_weights((network or build_assessor(SMALL)).state_dict(), folder / WEIGHTS, eight_bits=True)
    described = {"family": FAMILY, "subject_seeds": [block.to_json() for block in met]}
    (folder / DESCRIPTION).write_text(json.dumps(described), encoding="utf-8")
    return folder


def a_segmenter(folder, met=THEIRS, network=None):
    """Write a segmenter's folder; returns it."""
    folder.mkdir(parents=True)
    torch.manual_seed(6)
    network = network or build_network(SEGMENTER)
    for scale in ("fine", "coarse"):
        save_weights(network.state_dict(), folder / f"{scale}.safetensors")
    (folder / "segmenter.json").write_text("{}", encoding="utf-8")
    facts = {} if met is None else {"subject_seeds": [block.to_json() for block in met]}
    (folder / "provenance.json").write_text(json.dumps(facts), encoding="utf-8")
    return folder


def a_model(folder, first=100_000, subjects=1200, calibration=1_900_000, ecg_seed=0, records=100):
    """Write a bundle whose training is stated as an export does; returns it."""
    encoder = EcgEncoder(EcgEncoderConfig(widths=(8, 16)))
    model = MotionModel(MotionGrid(phases=6), encoder, PackScale((1.0, 1.0, 1.0)), None)
    parts = a_segmenter(folder.with_name("parts"))
    stated = json.loads((parts / "provenance.json").read_text(encoding="utf-8"))
    training = {"first_seed": first, "last_seed": first + subjects - 1, "seeds": {"ecg": ecg_seed},
                "gain": {"value": 1.0, "subjects": 48, "first_seed": calibration}}  # fmt: skip
    save_bundle(folder, model, {"name": "m", "version": "1", "training": training, "segmenter": stated}, parts)
    (folder / "docs").mkdir()
    settings = {"ecg": {"records": records}, "flow": {"calibration": {"records": 400}}}
    (folder / "docs" / "configuration.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def phantoms(root, *seeds):
    subjects = tuple(Subject(f"phantom-{seed}", f"phantom-{seed}", "test", {}, {"seed": seed}) for seed in seeds)
    return Cohort(root, CohortHeader("held-out", "phantom"), subjects)


def people(root, *names, split="test"):
    return Cohort(root, CohortHeader("clinic", "table"), tuple(Subject(name, name, split, {}) for name in names))


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    root = tmp_path_factory.mktemp("parts")
    return {"assessor": an_assessor(root / "assessor"), "model": a_model(root / "model"), "segmenter": root / "parts"}


def test_an_independent_assessor_passes(parts, tmp_path):
    cohort = phantoms(tmp_path, 7_000_000, 7_000_001)
    check_independent(parts["assessor"], [parts["model"], parts["segmenter"]], cohort)
    assert independence_problems(parts["assessor"], [parts["model"]], people(tmp_path, "a")) == []


def test_streams_are_compared_as_numpy_draws_them():
    one, other = numbered_subjects("cache", 7, 10), seeded_subjects("motion", 5, 10)
    assert shared([one], [other])  # subject 1 of the cache draws from (7, 1), as the body of phantom 7 does
    assert not shared([numbered_subjects("cache", 15, 10)], [other])
    assert not shared([SeedBlock("a", (7, 7), (100, 200))], [other])
    assert SeedBlock.from_json(one.to_json()) == one


@pytest.mark.parametrize(
    ("met", "words"),
    [
        (numbered_subjects("assessor", 1, 5), "segmenter: seed 1"),
        (numbered_subjects("assessor", 100_500, 400), "motion: seeds 100000"),
        (numbered_subjects("assessor", 1_900_399, 1), "calibration"),
        (numbered_subjects("assessor", 0, 1), "ECGs: seed 0"),
    ],
)
def test_a_shared_subject_is_refused_whoever_of_the_model_met_it(parts, tmp_path, met, words):
    folder = an_assessor(tmp_path / "assessor", [met])
    with pytest.raises(CohortError, match=words):
        check_independent(folder, [parts["model"]])


def test_a_subject_more_or_less_decides(parts, tmp_path):
    beyond = an_assessor(tmp_path / "beyond", [numbered_subjects("assessor", 101_200, 400)])
    check_independent(beyond, [parts["model"]])
    last = an_assessor(tmp_path / "last", [numbered_subjects("assessor", 101_199, 400)])
    assert independence_problems(last, [parts["model"]])


def test_a_bundles_teacher_states_its_phantoms_too(parts, tmp_path):
    model = shutil.copytree(parts["model"], tmp_path / "model")
    path = model / "configs" / "metadata.json"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    for facts, words in (({"first_seed": 50_000, "subjects": 180}, "teacher: seeds 50000…90023"), (None, "pairs")):
        metadata["cof"]["teacher"], metadata["teacher"] = True, {"pairs": facts}
        path.write_text(json.dumps(metadata), encoding="utf-8")
        folder = an_assessor(tmp_path / words[-5:], [numbered_subjects("assessor", 90_000, 4)])
        with pytest.raises(CohortError, match=words):
            check_independent(folder, [model])
    metadata["teacher"] = {"pairs": {"first_seed": None}}
    path.write_text(json.dumps(metadata), encoding="utf-8")
    check_independent(parts["assessor"], [model])


def test_the_same_family_is_refused_in_either_direction(parts, tmp_path):
    twin = an_assessor(tmp_path / "twin", network=build_network(SEGMENTER))
    with pytest.raises(CohortError, match=r"family of parts/coarse\.safetensors \(DynUNet\)"):
        check_independent(twin, [parts["segmenter"]])
    check = a_segmenter(tmp_path / "segresnet", network=build_assessor(AssessorNetwork(filters=16)))
    with pytest.raises(CohortError, match=r"\(SegResNet\)"):
        check_independent(parts["assessor"], [check])


def test_families_are_told_by_their_weights():
    from monai.networks.nets import SegResNet

    assert family_of(build_assessor(SMALL).state_dict()) == "SegResNet"
    assert family_of(SegResNet(init_filters=8, in_channels=1, out_channels=4).state_dict()) == "SegResNet"
    assert family_of(build_network(SEGMENTER).state_dict()) == "DynUNet"
    assert family_of(EcgEncoder().state_dict()) == ""


def test_copied_weights_are_refused_though_rounded_and_renamed(parts, tmp_path):
    from COFGeneratorLib.weights import load_weights

    stolen = load_weights(parts["assessor"] / WEIGHTS)["encoder.layers.3.blocks.0.conv1.weight"]
    folder = shutil.copytree(parts["segmenter"], tmp_path / "thief")
    trained_on = stolen + 0.05 * stolen.std() * torch.randn(stolen.shape, generator=torch.Generator().manual_seed(0))
    save_weights({"some.layer": trained_on}, folder / "fine.safetensors", eight_bits=True)
    with pytest.raises(CohortError, match=r"1 tensors in common with thief/fine\.safetensors"):
        check_independent(parts["assessor"], [folder])


def test_what_does_not_state_its_subjects_is_not_independent(parts, tmp_path):
    silent = a_segmenter(tmp_path / "silent", met=None)
    with pytest.raises(CohortError, match="must state the seeds"):
        check_independent(parts["assessor"], [silent])
    folder = an_assessor(tmp_path / "assessor")
    (folder / DESCRIPTION).write_text(json.dumps({"family": FAMILY}), encoding="utf-8")
    with pytest.raises(CohortError, match="does not state the seeds"):
        check_independent(folder, [])
    with pytest.raises(CohortError, match="does not read"):
        check_independent(tmp_path, [])


def test_subjects_that_it_is_to_judge_are_refused(parts, tmp_path):
    with pytest.raises(CohortError, match="1 of the phantoms that it is to judge"):
        check_independent(parts["assessor"], [], phantoms(tmp_path, 7_000_000, 41_000_001))
    folder = an_assessor(tmp_path / "assessor")
    write_people(folder / PEOPLE, people(tmp_path, "a", "b", split="train"))
    with pytest.raises(CohortError, match="has seen people whom it is to judge"):
        check_independent(folder, [], people(tmp_path, "b", "c"))
    check_independent(folder, [], people(tmp_path, "c"))


def test_people_whom_both_were_trained_on_are_refused(parts, tmp_path):
    folder, run = an_assessor(tmp_path / "mine" / "assessor"), tmp_path / "theirs" / "run"
    run.mkdir(parents=True)
    write_people(folder / PEOPLE, people(tmp_path, "a", "b", split="train"))
    write_people(run / PEOPLE, people(tmp_path, "b", "c", split="train"))
    with pytest.raises(CohortError, match="trained on 1 persons whom run was trained on"):
        check_independent(folder, [], runs=[run])
    write_people(run / PEOPLE, people(tmp_path, "c", split="train"))
    check_independent(folder, [], runs=[run])


def a_segmenter_run(run, started_from=None):
    """Write what a segmenter's run leaves of its settings; returns the run."""
    a_segmenter(run / "segmenter")
    (run / "segmenter" / "provenance.json").unlink()
    config = {"cache": {"subjects": 30, "seed": 77}, "validation_subjects": 4}
    (run / "configuration.json").write_text(json.dumps(config), encoding="utf-8")
    for scale in ("fine", "coarse"):
        (run / scale).mkdir()
        described = {"loop": {"steps": 1, "seed": 0}, "model": {"cache": config["cache"]}}
        (run / scale / "config.json").write_text(json.dumps(described), encoding="utf-8")
    if started_from is not None:
        (run / STARTED_FROM).write_text(json.dumps(started_from), encoding="utf-8")
    return run


def test_a_segmenters_run_states_both_of_its_caches(tmp_path):
    run = a_segmenter_run(tmp_path / "run")
    wanted = subject_seeds(SegmenterConfig(cache=CacheConfig(subjects=30, seed=77), validation_subjects=4))
    assert subjects_of(run) == wanted
    assert [block.seeds[0] for block in wanted] == [77, 1_000_080]
    assert segmenter_of(run, run)[1]["subject_seeds"] == [block.to_json() for block in wanted]


def test_weights_that_a_segmenter_began_with_count_too(tmp_path):
    before = numbered_subjects("before", 5, 600)
    run = a_segmenter_run(tmp_path / "run", {"subject_seeds": [before.to_json()]})
    assert before in subjects_of(run)
    unknown = a_segmenter_run(tmp_path / "unknown", {"subject_seeds": None})
    with pytest.raises(CohortError, match="must state the seeds"):
        subjects_of(unknown)


def test_the_default_configurations_share_nobody():
    """Whatever is trained by the shipped configurations stays apart: their seeds, not a bundle's."""
    from COFTrainingLib.training.configurations import read_configuration

    ours = read_configuration("assessor").subject_seeds
    flow, ecg, teacher = (read_configuration(kind) for kind in ("flow", "ecg", "teacher"))
    held = flow.calibration
    theirs = [
        *subject_seeds(read_configuration("segmenter")),
        seeded_subjects("flow", flow.first_seed, flow.subjects),
        seeded_subjects("calibration", held.first_seed, max(held.subjects, held.records)),
        numbered_subjects("ecg", ecg.loop.seed, ecg.records + ecg.held_out),
        seeded_subjects("teacher", teacher.pairs.first_seed, 40_000 + teacher.pairs.subjects),
        seeded_subjects("held out", 7_000_000, 10_000),
    ]
    assert shared(ours, theirs) == []
