"""How often findings occur: in the natural cohort, and in the one that training draws."""

from dataclasses import dataclass, fields

from COFGeneratorLib.errors import CohortError


@dataclass(frozen=True)
class Prevalence:
    """How often each finding is drawn; the defaults are the natural cohort, training may oversample.

    Args:
        infarct: Probability of an infarct; territories are equally likely.
        bundle_branch_block: Probability of LBBB or RBBB, equally likely; a failing heart has LBBB far more often.
        atrial_fibrillation: Probability of atrial fibrillation; a failing heart has it more often.
        hypertrophy: Probability of left-ventricular hypertrophy.
        cardiomyopathy: Probability of a dilated, failing left ventricle, whatever its cause.
        rv_load: Probability of a right ventricle under pressure or volume load, equally likely.
        tachycardia: Probability of a rate between 100 and 180 per minute.
        athlete: Probability of an athlete's heart, where nothing else is found.
        end_stage: Share of failing hearts that are at the end of their course, with an EF of about 18 %.
    """

    infarct: float = 0.12
    bundle_branch_block: float = 0.08
    atrial_fibrillation: float = 0.04
    hypertrophy: float = 0.10
    cardiomyopathy: float = 0.05
    rv_load: float = 0.06
    tachycardia: float = 0.04
    athlete: float = 0.05
    end_stage: float = 0.0

    def __post_init__(self) -> None:
        for item in fields(self):
            if not 0.0 <= getattr(self, item.name) <= 1.0:
                raise CohortError(
                    f"A prevalence must lie between 0 and 1; found {item.name} = {getattr(self, item.name)}. "
                    "State it as a fraction."
                )


NATURAL = Prevalence()
ENRICHED = Prevalence(
    infarct=0.35, bundle_branch_block=0.18, atrial_fibrillation=0.06, hypertrophy=0.14, cardiomyopathy=0.34,
    rv_load=0.15, tachycardia=0.08,
)  # fmt: skip
"""Rare causes are oversampled in training: at their natural share neither failing hearts nor infarcts are learned."""
