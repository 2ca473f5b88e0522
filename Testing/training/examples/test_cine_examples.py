"""Examples from recorded cines: with the true motion they are the phantom's own; registrations come near it."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from COFGeneratorLib import read_ecg, read_sax
from COFGeneratorLib.anatomy.heart_frame import heart_frame_from_labels
from COFGeneratorLib.anatomy.readers import read_cine
from COFGeneratorLib.ecg import analyse_ecg
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.generator.networks.grid import MotionGrid, anatomy_maps, grid_for_heart, label_fractions
from COFGeneratorLib.motion.fields import exponential
from COFTrainingLib.cohort.manifest import Subject
from COFTrainingLib.cohort.synthetic.phantom_files import PhantomOptions
from COFTrainingLib.cohort.synthetic.synthesis import synthesize
from COFTrainingLib.phantom.cases import draw_case
from COFTrainingLib.phantom.prevalence import NATURAL
from COFTrainingLib.training.examples.cine_data import check_own_ecgs
from COFTrainingLib.training.examples.cine_example import MotionField, Recipe, _starts, ecg_draws, make_examples
from COFTrainingLib.training.examples.cine_motion import CineMotion, demons_motion
from COFTrainingLib.training.examples.flow_samples import displacement_on_grid, draw_anchor, volume_phases
from COFTrainingLib.training.examples.stated import stated_of_cine

pytestmark = pytest.mark.slow

SPACING = (8.0, 2.4)
SEED = 8_300_003
GRID = MotionGrid(phases=6)
TRUTH = Recipe(GRID, CineMotion(source="truth"))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Return a phantom with its cine of 12 frames, labels and true displacement."""
    options = PhantomOptions(NATURAL, cines=True, frames=12, spacing_mm=SPACING)
    return synthesize(tmp_path_factory.mktemp("cine") / "c", 1, SEED, options)


@pytest.fixture(scope="module")
def case():
    return draw_case(SEED, SPACING, prevalence=NATURAL)


@pytest.fixture(scope="module")
def example(cohort):
    return make_examples(cohort, cohort.subjects[0], TRUTH, 1, seed=5)[0]


def near_the_heart(example) -> np.ndarray:
    return example["maps"][:2].sum(axis=0) > 0.3


def test_true_motion_gives_the_phantom_s_own_example(case, example):
    frame = heart_frame_from_labels(case.labels, case.anchor.ijk_to_ras)
    to_phantom = case.plan.ras_to_heart @ np.linalg.inv(frame.ras_to_heart())
    expected = displacement_on_grid(case.subject, to_phantom, GRID, np.arange(6) / 6).numpy()
    found = exponential(torch.from_numpy(example["velocity"].astype(np.float32))).numpy()
    spacing = np.array(GRID.spacing_mm).reshape(3, 1, 1, 1)
    error = np.linalg.norm((found - expected) * spacing, axis=1)[:, near_the_heart(example)]
    size = np.linalg.norm(expected * spacing, axis=1)[:, near_the_heart(example)]
    assert size.max() > 6.0  # mm: there is motion to be found
    assert error.mean() < 0.35  # of 12 frames by splines, half precision, slices shifted by breath-holds
    assert np.percentile(error, 99) < 2.0
    assert not example["velocity"][0].any()


def test_volumes_are_those_of_the_labels(case, example):
    times = np.arange(6) / 6 * case.subject.physiology.rr_ms
    exact = case.subject.heart.lv_volume_ml(times) / case.subject.heart.lv_volume_ml(0.0)
    assert np.abs(example["volumes"][:, 0] - exact).max() < 0.06  # voxel counting and the stack's ends
    assert example["volumes"][0] == pytest.approx(1.0)
    assert example["facts"] == {"labels_from": "file", "confidence": 1.0, "ecg": "recorded"}


def test_without_labels_of_the_cine_volumes_are_those_of_the_warped_anchor(cohort, example):
    subject = cohort.subjects[0]
    bare = replace(subject, files={role: file for role, file in subject.files.items() if role != "cine_labels"})
    again = make_examples(cohort, bare, TRUTH, 1, seed=5)[0]
    assert np.abs(again["volumes"] - example["volumes"])[:, :2].max() < 0.15
    assert np.array_equal(again["velocity"], example["velocity"])


def test_the_anchor_may_be_any_frame(cohort, example):
    subject = cohort.subjects[0]
    later = replace(subject, facts={**subject.facts, "anchor_frame": 4}, files={
        role: file for role, file in subject.files.items() if role not in ("labels", "anchor")
    })  # fmt: skip
    shifted = make_examples(cohort, later, Recipe(GRID, CineMotion(source="demons", frames=6)), 1, seed=5)[0]
    relative = np.roll(example["volumes"][:, 0], -2) / example["volumes"][2, 0]  # 4 of 12 frames are 2 of 6 phases
    assert np.abs(shifted["volumes"][:, 0] - relative).max() < 0.03


def test_an_anchor_of_any_phase_is_a_frame_of_the_cine_and_the_beat_begins_at_the_r_wave_all_the_same(cohort, case):
    recipe = Recipe(GRID, CineMotion(source="demons", frames=4), anchor="any")
    seed = next(n for n in range(99) if 0.3 < draw_anchor(np.random.default_rng([n, 3, 0])) < 0.4)
    (found,) = make_examples(cohort, cohort.subjects[0], recipe, 1, seed)
    assert found["anchor"] == pytest.approx(4 / 12)  # the frame that is nearest
    times, heart = np.arange(6) / 6 * case.subject.physiology.rr_ms, case.subject.heart
    expected = heart.lv_volume_ml(times) / heart.lv_volume_ml(times[2:3])
    assert np.abs(found["volumes"][:, 0] / expected - 1.0).max() < 0.1
    assert found["volumes"][0, 0] > 1.3
    assert len(found["deficit"]) == len(volume_phases(GRID, "any"))
    size = np.abs(found["velocity"].astype(float)).mean(axis=(1, 2, 3, 4))
    assert size[0] > 10 * size[2]
    bare = {role: file for role, file in cohort.subjects[0].files.items() if role != "cine_labels"}
    subject, order = replace(cohort.subjects[0], files=bare), list(range(12))
    assert _starts(cohort, subject, order, recipe, 1, seed) == [0]  # no labels of other frames, and no segmenter
    assert _starts(cohort, subject, order, replace(recipe, segmenter="one"), 1, seed) == [4]
    assert _starts(cohort, cohort.subjects[0], order, replace(recipe, anchor="ed"), 2, seed) == [0, 0]


def test_demons_find_most_of_the_motion(cohort, case):
    subject = cohort.subjects[0]
    anchor, cine = read_sax(cohort.path(subject, "anchor")), read_cine(cohort.path(subject, "cine"))
    frame = heart_frame_from_labels(case.labels, anchor.ijk_to_ras)
    es = int(np.argmin([(read_cine(cohort.path(subject, "cine_labels")).frames[t] == 1).sum() for t in range(12)]))
    field = demons_motion(anchor, cine.frames[[es]], frame)
    inside = np.argwhere((case.labels == 2) | (case.labels == 1))
    points = inside[:, ::-1] @ anchor.ijk_to_ras[:3, :3].T + anchor.ijk_to_ras[:3, 3]
    found = field.at(points)[0]
    pull = np.load(cohort.path(subject, "displacement"))[es].astype(float)[:, *inside.T].T
    axes = anchor.ijk_to_ras[:3, :3] / np.linalg.norm(anchor.ijk_to_ras[:3, :3], axis=0)
    true = pull[:, ::-1] @ axes.T
    in_plane = np.eye(3) - np.outer(axes[:, 2], axes[:, 2])  # between slices 8 mm apart nobody sees motion well
    error = np.linalg.norm((found - true) @ in_plane, axis=1).mean()
    assert error < 0.75 * np.linalg.norm(true @ in_plane, axis=1).mean()
    assert 0.5 < field.confidence[0] <= 1.0


def test_copies_are_turned_hearts_with_the_same_volumes(cohort):
    first, second = make_examples(cohort, cohort.subjects[0], TRUTH, 2, seed=5)
    assert not np.array_equal(first["maps"], second["maps"])
    assert np.array_equal(first["volumes"], second["volumes"])
    power = [np.square(one["velocity"].astype(float)).mean() for one in (first, second)]
    assert power[0] == pytest.approx(power[1], rel=0.25)


def test_a_field_is_read_in_ras_whatever_its_grid_s_axes():
    rng = np.random.default_rng(2)
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn * np.array([9.0, 2.0, 3.0]), rng.normal(0, 50, 3)
    along = np.array([1.0, -2.0, 0.5])  # the same everywhere, mm along the grid's axes
    field = MotionField(torch.tensor(along).view(1, 3, 1, 1, 1).expand(1, 3, 4, 5, 6), matrix, np.ones(1))
    assert np.allclose(field.at(rng.normal(0, 80, (7, 3))), turn @ along, atol=1e-5)


def test_draws_of_an_ecg_are_the_same_heart_by_other_beats(cohort):
    record = read_ecg(cohort.path(cohort.subjects[0], "ecg"))
    drawn = ecg_draws(record, np.random.default_rng(0))
    cycle = analyse_ecg(record)
    assert np.allclose(drawn["beats"][0], cycle.beat_mv, atol=2e-3)
    apart = np.abs(drawn["beats"][1].astype(float) - drawn["beats"][0]).mean()
    assert 0 < apart < 0.1 * np.abs(cycle.beat_mv).max()
    assert np.array_equal(drawn["scalars"], np.repeat(cycle.scalars()[None], 4, axis=0))


def test_what_cannot_be_learnt_from_is_refused(cohort):
    subject = cohort.subjects[0]
    with pytest.raises(TrainingError, match="anchor frame 40"):
        make_examples(cohort, replace(subject, facts={**subject.facts, "anchor_frame": 40}), TRUTH, 1, 0)
    bare = replace(subject, files={role: subject.files[role] for role in ("cine", "ecg")})
    with pytest.raises(TrainingError, match="--segmenter"):
        make_examples(cohort, bare, TRUTH, 1, 0)
    with pytest.raises(TrainingError, match="teacher, demons, truth"):
        CineMotion(source="guess")


def test_a_cine_without_an_ecg_has_its_function_stated(cohort, case, example):
    subject = cohort.subjects[0]
    facts = {
        name: fact for name, fact in subject.facts.items() if name not in ("ef_percent", "rvef_percent", "es_phase")
    }
    bare = replace(subject, files={role: file for role, file in subject.files.items() if role != "ecg"}, facts=facts)
    silent = make_examples(cohort, bare, TRUTH, 1, seed=5)[0]
    assert not silent["beats"].any()
    assert not silent["scalars"].any()
    assert silent["beats"].shape == example["beats"].shape
    assert silent["facts"]["ecg"] == "none"
    physiology = case.subject.physiology
    assert silent["stated"][0] == pytest.approx(physiology.ef, abs=0.06)  # six phases of voxel counts
    assert silent["stated"][2] == pytest.approx(physiology.t_es_ms / physiology.rr_ms, abs=0.12)


def test_facts_of_the_manifest_are_stated_before_what_the_cine_shows(cohort):
    subject, volumes = replace(cohort.subjects[0], facts={}), np.ones((6, 3)) - 0.4 * np.hanning(7)[:6, None]
    found = stated_of_cine(subject, volumes)
    assert found == pytest.approx([0.4, 0.4, 0.5], abs=0.01)
    told = replace(subject, facts={"ef_percent": 41.0, "es_phase": 0.33})
    assert stated_of_cine(told, volumes) == pytest.approx([0.41, found[1], 0.33])
    volumes[:, 2] = 0.0  # no right ventricle is labelled
    assert np.isnan(stated_of_cine(subject, volumes)[1])


def test_a_large_heart_is_learnt_on_the_grid_on_which_it_is_generated(cohort, case):
    small = MotionGrid(shape=(12, 20, 20), phases=6)  # 95 mm wide: no heart fits
    frame = heart_frame_from_labels(case.labels, case.anchor.ijk_to_ras)
    grid = grid_for_heart(case.labels, case.anchor.ijk_to_ras, frame, small)
    assert grid.spacing_mm[1] > small.spacing_mm[1]
    found = make_examples(cohort, cohort.subjects[0], Recipe(small, CineMotion(source="truth")), 1, seed=5)[0]
    expected = anatomy_maps(label_fractions(case.labels), case.anchor.ijk_to_ras, frame, grid)
    assert np.abs(found["maps"].astype(float) - expected).mean() < 0.01


def test_one_ecg_for_several_people_is_refused():
    beats = np.ones((3, 4, 12, 256), np.float16) * np.array([1.0, 0.0, 1.0]).reshape(3, 1, 1, 1)
    people = [Subject(name, name, "train") for name in "abc"]
    cache = SimpleNamespace(
        arrays={"beats": beats}, ready=np.arange(3), first_of=lambda indices: [(people[n], int(n)) for n in indices]
    )
    with pytest.raises(TrainingError, match="c and a have the same"):
        check_own_ecgs(cache)
    beats[2] = 0.0
    check_own_ecgs(cache)  # two without an ECG are no two with the same
