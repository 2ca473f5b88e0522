"""EF as a joint statement: what is measured of the anatomy, when an ECG is doubted, and who speaks then."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from COFGeneratorLib.ecg import cycle_from_peaks
from COFGeneratorLib.ecg.cycle import SCALAR_NAMES
from COFGeneratorLib.generator.domain import EcgDomain
from COFGeneratorLib.generator.ef_statement import (
    READINGS,
    SOURCES,
    EfStatement,
    StatementConfig,
    between,
    disagreement,
    infarct_claim,
)
from COFGeneratorLib.generator.heart_measures import MEASURES, heart_measures
from COFGeneratorLib.generator.networks.ecg_encoder import MISHAPS, EcgEncoder, EcgEncoderConfig, encoder_inputs
from COFTrainingLib.phantom.electrocardiogram import synthesise_ecg
from COFTrainingLib.phantom.physiology import draw_physiology

TINY = EcgEncoderConfig(widths=(8, 12), blocks=1, embedding=16)
SOUND = torch.tensor([9.0, 0.0, 0.0, 0.0, 0.0])


def shells(radius_mm, wall_mm, rv_mm=0.0, pixel_mm=1.0, pitch_mm=8.0, slices=9):
    """A stack of concentric discs: cavity, wall, and a disc of RV beside them; its geometry is oblique."""
    side = np.arange(-60, 61) * pixel_mm
    j, i = np.meshgrid(side, side, indexing="ij")
    labels = np.zeros((slices, len(side), len(side)), dtype=np.uint8)
    labels[:, np.hypot(j, i) <= radius_mm + wall_mm] = 2
    labels[:, np.hypot(j, i) <= radius_mm] = 1
    if rv_mm:
        labels[:, np.hypot(j, i - 45.0) <= rv_mm] = 3
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    geometry = np.eye(4)
    geometry[:3, :3] = turn * [pixel_mm, pixel_mm, pitch_mm]
    return labels, geometry


@pytest.mark.parametrize("pixel_mm", [1.0, 1.5])
def test_measures_are_those_of_the_solid(pixel_mm):
    values = dict(zip(MEASURES, np.exp(heart_measures(*shells(24.0, 9.0, 10.0, pixel_mm))), strict=True))
    assert values["lv_ml"] == pytest.approx(np.pi * 24**2 * 72 / 1000, rel=0.01)
    assert values["myocardium_ml"] == pytest.approx(np.pi * (33**2 - 24**2) * 72 / 1000, rel=0.02)
    assert values["rv_ml"] == pytest.approx(np.pi * 10**2 * 72 / 1000, rel=0.02)
    assert values["lv_diameter_mm"] == pytest.approx(48.0, rel=0.01)
    assert values["wall_mm"] == pytest.approx(9.0, rel=0.02)
    assert values["lv_length_mm"] == pytest.approx(72.0)
    assert values["wall_over_radius"] == pytest.approx(9 / 24, rel=0.02)
    assert values["rv_over_lv_area"] == pytest.approx((10 / 24) ** 2, rel=0.03)


def test_diameter_and_wall_hold_for_a_stack_that_lacks_slices():
    labels, geometry = shells(24.0, 9.0, 10.0)
    whole, cut = heart_measures(labels, geometry), heart_measures(labels[2:7], geometry)
    for name in ("lv_diameter_mm", "wall_mm", "wall_over_radius", "rv_over_lv_area"):
        assert cut[MEASURES.index(name)] == pytest.approx(whole[MEASURES.index(name)])


def test_too_little_of_a_heart_has_no_measures():
    labels, geometry = shells(24.0, 9.0)
    assert heart_measures(labels[:2], geometry) is None
    assert heart_measures(np.zeros_like(labels), geometry) is None
    assert heart_measures(np.where(labels == 1, 1, 0), geometry) is None  # no wall: nothing to tell thick from thin
    assert np.isfinite(heart_measures(labels, geometry)).all()  # no RV


def test_distance_is_mahalanobis_in_the_components_and_counts_what_lies_beside():
    domain = EcgDomain(4, 2)
    domain.centre.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))
    domain.basis.copy_(torch.eye(4)[:, :2])
    domain.spread.copy_(torch.tensor([2.0, 0.5]))
    domain.beside.fill_(0.1)
    points = torch.tensor([[1.0, 0, 0, 0], [3.0, 0, 0, 0], [1.0, 0.5, 0, 0], [1.0, 0, 0.1, 0]])
    assert domain.distance(points).tolist() == pytest.approx([0.0, 3**-0.5, 3**-0.5, 3**-0.5])


def test_ranges_leave_absent_waves_alone():
    domain = EcgDomain(4, 2)
    domain.scalar_low.fill_(100.0)
    domain.scalar_high.fill_(200.0)
    scalars = torch.tensor([[150.0, 0.0, 50.0, 260.0] + [150.0] * (len(SCALAR_NAMES) - 4)])
    assert domain.excess(scalars)[0, :4].tolist() == pytest.approx([0.0, 0.0, 0.5, 0.6])


def beat_of(limb_mv, chest_mv):
    """A beat with one deflection of these heights in one limb and one chest lead."""
    beat = np.zeros((12, 8), dtype=np.float32)
    beat[1, 3], beat[8, 4] = limb_mv, chest_mv
    return beat


def scalars_of(qrsd_ms, pr_ms=160.0):
    stated = {"qrsd_ms": qrsd_ms, "pr_ms": pr_ms}
    return torch.tensor([stated.get(name, 5.0) for name in SCALAR_NAMES])


def judged(**changes):
    domain = EcgDomain(4, 2)
    domain.basis.copy_(torch.eye(4)[:, :2])
    domain.distance_limit.fill_(2.0)
    domain.distance_far.fill_(4.0)
    domain.mishap_limit.fill_(0.5)
    domain.scalar_low.fill_(-10.0)
    domain.scalar_high.fill_(1000.0)
    asked = {
        "embedding": torch.zeros(4),
        "scalars": scalars_of(90.0),
        "mishap_logits": SOUND,
        "beat_mv": beat_of(1.0, 2.0),
    }
    return domain.judge(**(asked | changes))


@pytest.mark.parametrize(
    ("changes", "status", "word"),
    [
        ({}, "stated", None),
        ({"embedding": torch.tensor([5.0, 0, 0, 0])}, "widened", "unlike most"),
        ({"embedding": torch.tensor([50.0, 0, 0, 0])}, "withheld", "unlike all"),
        ({"scalars": torch.full((len(SCALAR_NAMES),), 2000.0)}, "widened", "QRS duration"),
        ({"quality": 0.1}, "widened", "noisy"),
        ({"scalars": scalars_of(50.0, 80.0)}, "widened", "shorter"),
        ({"scalars": scalars_of(50.0)}, "stated", None),
        ({"scalars": scalars_of(50.0, 0.0)}, "stated", None),
        ({"beat_mv": beat_of(0.4, 0.8)}, "widened", "low in all leads"),
        ({"beat_mv": beat_of(0.4, 1.2)}, "stated", None),
        ({"beat_mv": beat_of(0.6, 0.8)}, "stated", None),
        ({"beat_mv": beat_of(4.0, 2.0)}, "widened", "higher than hearts"),
        ({"beat_mv": beat_of(1.0, 9.0)}, "widened", "higher than hearts"),
        ({"beat_mv": None}, "stated", None),
        ({"doubts": ("quality",)}, "widened", "noisy"),
        ({"doubts": ("scale",)}, "widened", "calibrated"),
        ({"doubts": ("leads",)}, "withheld", "leads"),
        ({"doubts": ("electrodes",), "mishap_logits": 2.0 * torch.eye(5)[0]}, "withheld", "electrodes"),
        ({"doubts": ("electrodes",)}, "stated", None),
        ({"doubts": ("polarity",), "mishap_logits": 2.0 * torch.eye(5)[0]}, "withheld", "upside down"),
        ({"doubts": ("polarity",)}, "stated", None),
        ({"doubts": ("paced",)}, "withheld", "pacemaker"),
        *(({"mishap_logits": 9.0 * torch.eye(5)[n]}, "widened", ("upside", "limb", "chest", "pace")[n - 1])
          for n in range(1, len(MISHAPS))),
    ],
)  # fmt: skip
def test_each_doubt_has_its_status_and_its_words(changes, status, word):
    finding = judged(**changes)
    assert finding.status == status
    assert finding.reasons == () if word is None else word in "; ".join(finding.reasons)


@pytest.fixture(scope="module")
def cycle():
    rng = np.random.default_rng(1)
    return cycle_from_peaks(*synthesise_ecg(draw_physiology(rng, hr_bpm=65.0), rng, noise=0.2))


@pytest.fixture
def statement():
    """A statement whose estimators say .62 of the ECG, .31 of the anatomy and .40 of both, whatever they are given."""
    statement = EfStatement(StatementConfig(embedding=16, components=4, hidden=4, patients=123))
    said = {"ecg": (0.62, 0.04), "anatomy": (0.31, 0.06), "both": (0.40, 0.08)}
    for source, (mean, sd) in said.items():
        out = statement.estimators[source].out
        torch.nn.init.zeros_(out.weight)
        with torch.no_grad():
            out.bias.copy_(torch.tensor([(mean - 0.55) / 0.12, np.log(sd / 0.12)]))
    statement.widths.copy_(torch.arange(9.0).view(3, 3) + 1.0)
    return statement.eval()


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    encoder = EcgEncoder(TINY).eval()
    with torch.no_grad():
        encoder.head[-1].bias[-len(MISHAPS)] = 30.0  # every record is sound
    return encoder


MEASURED = np.zeros(len(MEASURES), dtype=np.float32)


def test_both_speak_where_both_are_known_and_say_that_they_disagree(statement, encoder, cycle):
    both = statement.state(encoder, cycle, MEASURED)
    mean, sd = between({"ecg": (0.62, 0.04), "anatomy": (0.31, 0.06)})
    assert (both.mean, both.sd, both.z90, both.status) == pytest.approx((mean, sd, 7.0, "stated"))
    assert "62 %" in both.notes[0]
    assert "31 %" in both.notes[0]
    assert "not calibrated" in both.notes[-1]
    alone = statement.state(encoder, cycle, None)
    assert (alone.mean, alone.z90) == pytest.approx((0.62, 1.0))
    assert not any("disagree" in note for note in alone.notes)
    with torch.no_grad():
        statement.estimators["anatomy"].out.bias[0] += (0.60 - 0.31) / 0.12
    agreed = statement.state(encoder, cycle, MEASURED)
    assert (agreed.mean, agreed.sd) == pytest.approx((0.40, 0.08))
    assert "123 synthetic patients" in agreed.notes[-1]


def test_a_doubted_ecg_has_the_wider_interval_and_an_unfit_one_is_not_asked(statement, encoder, cycle):
    noisy = statement.state(encoder, replace(cycle, quality=0.1), MEASURED)
    assert (noisy.status, noisy.mean, noisy.z90) == pytest.approx(
        ("widened", between({"ecg": (0.62, 0.04), "anatomy": (0.31, 0.06)})[0], 8.0)
    )
    assert "noisy" in noisy.notes[0]
    statement.domain.distance_far.fill_(-1.0)  # nothing is near enough
    statement.domain.distance_limit.fill_(-1.0)
    unfit = statement.state(encoder, cycle, MEASURED)
    assert (unfit.status, unfit.mean, unfit.z90) == pytest.approx(("withheld", 0.31, 5.0))
    assert "anatomy alone" in unfit.notes[0]
    nothing = statement.state(encoder, cycle, None)
    assert (nothing.mean, nothing.sd) == pytest.approx((0.55, 0.12))
    assert "population" in nothing.notes[0]
    assert statement.state(encoder, None, MEASURED).mean == pytest.approx(0.31)


def test_disagreement_is_measured_in_common_sds():
    assert disagreement({"ecg": (0.60, 0.03), "anatomy": (0.51, 0.04)}) == ()
    assert len(disagreement({"ecg": (0.60, 0.03), "anatomy": (0.49, 0.04)})) == 1
    assert disagreement({"ecg": (0.60, 0.03)}) == ()


def test_an_infarct_is_claimed_only_where_it_is_likely_enough(encoder, cycle):
    reading = encoder.latents(encoder(*encoder_inputs(cycle, "cpu"))[0])
    doubtful = reading._replace(territory_logits=torch.tensor([[0.0, 0.8, 0.0, 0.0]]))
    certain = reading._replace(territory_logits=torch.tensor([[0.0, 0.0, 6.0, 0.0]]))
    assert infarct_claim(doubtful) is None
    territory, chance = infarct_claim(certain)
    assert territory == "inferior"
    assert chance > 0.9


def test_a_statement_survives_its_file(statement, encoder, cycle, tmp_path):
    from COFGeneratorLib.weights import load_weights, save_weights

    save_weights(statement.state_dict(), tmp_path / "statement.safetensors")
    again = EfStatement(statement.config)
    again.load_state_dict(load_weights(tmp_path / "statement.safetensors"))
    first, second = (one.eval().state(encoder, cycle, MEASURED) for one in (statement, again))
    assert second.mean == pytest.approx(first.mean, abs=1e-3)
    assert second.notes == first.notes
    assert sum(SOURCES.values()) == 2 * (len(READINGS) + len(MEASURES))


def test_where_they_disagree_the_statement_lies_halfway_and_its_sd_spans_both():
    mean, sd = between({"ecg": (0.62, 0.04), "anatomy": (0.18, 0.08)})
    assert mean == pytest.approx(0.40)
    assert sd == pytest.approx(np.hypot(0.22, 0.04))
    assert mean - 1.645 * sd < 0.18 < 0.62 < mean + 1.645 * sd
