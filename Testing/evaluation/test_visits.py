"""The earlier visit of a phantom: the same anatomy, elsewhere, with another physiology."""

from dataclasses import asdict

import numpy as np
import pytest
from COFTrainingLib.cohort.manifest import Cohort, CohortHeader, Subject
from COFTrainingLib.evaluation.visits import earlier_visit, phantom_prior
from COFTrainingLib.phantom.prevalence import NATURAL


def a_cohort(tmp_path):
    header = CohortHeader("c", "phantom", settings={"prevalence": asdict(NATURAL), "spacing_mm": [14.0, 3.0]})
    subjects = (Subject("phantom-9", "phantom-9", "test", {}, {"seed": 9}),)
    return Cohort(tmp_path, header, subjects)


@pytest.mark.slow
def test_an_earlier_visit_is_the_same_heart_on_another_day(tmp_path):
    from COFTrainingLib.phantom.cases import draw_case

    cohort = a_cohort(tmp_path)
    prior = phantom_prior(cohort, cohort.subjects[0], frames=6)
    again = phantom_prior(cohort, cohort.subjects[0], frames=6)
    other = phantom_prior(cohort, cohort.subjects[0], frames=6, rng_extra=1)
    now = draw_case(9, (14.0, 3.0))
    assert np.array_equal(prior.reference_labels, again.reference_labels)
    assert prior.rr_ms != now.subject.physiology.rr_ms != other.rr_ms
    volume = prior.labelled_truth.edv_ml / (now.subject.heart.lv_volume_ml(0.0))
    assert 0.6 < volume < 1.5
    apart = np.linalg.norm(prior.frame.origin_ras - _origin(now))
    assert 0.5 < apart < 45.0
    assert earlier_visit(cohort, cohort.subjects[0]) is None


def _origin(case):
    from COFGeneratorLib.anatomy.heart_frame import heart_frame_from_labels

    return heart_frame_from_labels(case.labels, case.anchor.ijk_to_ras).origin_ras
