"""The latent state of one synthetic patient, drawn with the couplings that patients have.

The ejection fraction follows contractility, infarct extent and the dyssynchrony of LBBB; the clock of the beat follows
heart rate and sex; a failing ventricle brings wide QRS, atrial fibrillation, a faster rate and a weaker right
ventricle. Population values follow the UK Biobank (Petersen et al., J Cardiovasc Magn Reson 2017;19:18), those of heart
failure the registries (bundle branch block in a quarter, atrial fibrillation in a fifth: Lund et al., Eur J Heart Fail
2013;15:1042).
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from COFGeneratorLib.errors import CohortError

from COFTrainingLib.phantom.prevalence import NATURAL, Prevalence
from COFTrainingLib.phantom.pump import (
    EF_AT_REST,
    EF_RANGE,
    RV_LOADS,
    contractility_for,
    expected_ef,
    mapse_mm,
    right_ef,
    tapse_mm,
)
from COFTrainingLib.phantom.systolic_times import population_qs2_ms, population_qt_ms

TERRITORIES = ("", "anterior", "inferior", "lateral")
CONDUCTIONS = ("", "lbbb", "rbbb")

R_AFTER_QRS_ONSET_MS = 40.0
"""Time zero is the R peak; systolic time intervals and QT count from the onset of QRS, taken 40 ms earlier."""
PROTODIASTOLE_MS = 22.0
"""From the smallest volume to the closure of the aortic valve, at which QS2 ends (Wiggers; 20–40 ms)."""

NORMAL_QRSD_MS = 95.0
EF_NOISE = 0.025
CONTRACTILITY_SD = 0.55
"""Of a heart that does not fail: with the noise, EF varies by the UK Biobank's 5 points."""
FAILING_CONTRACTILITY = (4.0, 1.15)
"""Mean and SD in cardiomyopathy: an EF of 28 ± 9 % (Gulati et al., Circulation 2013: 37 ± 13 with the mild ones)."""
END_STAGE_CONTRACTILITY = 1.3
"""More, at the end of the course: an EF of 18 ± 9 %, as the dilated hearts of public cohorts have (ACDC)."""
FAILING_EF = 0.42
"""Below it a forced EF, which no infarct explains, is that of a failing heart."""
HEART_RATE_BPM = (68.0, 11.0)
HEART_RATE_RANGE_BPM = (42.0, 180.0)
QT_RESIDUAL_MS = 12.0
QS2_RESIDUAL_MS = 5.0
QS2_PER_QT_RESIDUAL = 0.6
INFARCT_EXTENT_RANGE = (0.05, 0.35)
BODY_SURFACE_M2 = {"m": (1.98, 0.17), "f": (1.72, 0.15)}
LV_MASS_INDEX = {"m": (53.0, 8.0), "f": (42.0, 6.5)}


@dataclass(frozen=True)
class Physiology:
    """The latent state of one synthetic patient at the time of the ECG.

    Times are ms; those named ``t_`` count from the R peak.

    Attributes:
        sex: ``"m"`` or ``"f"``.
        age_years: Age.
        bsa_m2: Body surface.
        hr_bpm, rr_ms: Heart rate and the R–R interval that belongs to it.
        qrsd_ms: QRS duration.
        pr_ms: P onset to QRS onset; NaN in atrial fibrillation.
        qt_ms: QRS onset to T end.
        ef: Ejection fraction of the left ventricle, fraction.
        contractility: Latent k, about 0 ± 0.6 in hearts that do not fail and 4 ± 1.2 in those that do; a larger k is a
            *weaker* ventricle (EF falls by 0.08 k).
        cardiomyopathy: Whether the left ventricle is dilated and fails.
        infarct_territory: ``""``, ``"anterior"``, ``"inferior"`` or ``"lateral"``.
        infarct_extent: Fraction of the myocardium, 0 … 0.35.
        conduction: ``""``, ``"lbbb"`` or ``"rbbb"``.
        conduction_delay_ms: Largest mechanical delay of the late-activated wall.
        atrial_fibrillation: Whether the atria fibrillate.
        atrial_fraction: Share of the filling that the atrial contraction gives; 0 in atrial fibrillation.
        t_es_ms: End of ejection: the smallest volume, shortly before the aortic valve closes.
        ivr_ms: Isovolumic relaxation, end of ejection to mitral opening.
        filling_tau_ms: Time constant of early filling.
        lv_mass_index: LV mass over body surface, g/m².
        hypertrophy: Whether the LV is hypertrophic.
        athlete: Whether it is an athlete's heart: large, slow, and healthy.
        rv_ef: Ejection fraction of the right ventricle, fraction.
        rv_load: ``""``, ``"pressure"`` or ``"volume"``: what loads the right ventricle.
        mapse_mm, tapse_mm: Descent of the mitral and, at the free wall, of the tricuspid plane.
    """

    sex: str
    age_years: float
    bsa_m2: float
    hr_bpm: float
    rr_ms: float
    qrsd_ms: float
    pr_ms: float
    qt_ms: float
    ef: float
    contractility: float
    cardiomyopathy: bool
    infarct_territory: str
    infarct_extent: float
    conduction: str
    conduction_delay_ms: float
    atrial_fibrillation: bool
    atrial_fraction: float
    t_es_ms: float
    ivr_ms: float
    filling_tau_ms: float
    lv_mass_index: float
    hypertrophy: bool
    athlete: bool
    rv_ef: float
    rv_load: str
    mapse_mm: float
    tapse_mm: float

    def __post_init__(self) -> None:
        _check_known("Infarct territory", self.infarct_territory, TERRITORIES)
        _check_known("Conduction", self.conduction, CONDUCTIONS)
        _check_known("RV load", self.rv_load, RV_LOADS)
        if not self.rr_ms > self.t_es_ms + self.ivr_ms:
            raise CohortError(
                f"One R–R must outlast systole ({self.t_es_ms + self.ivr_ms:.0f} ms here); found {self.rr_ms:.0f} ms. "
                "Lower the heart rate or shorten ejection."
            )

    @property
    def dyssynchrony_ms(self) -> float:
        """Mechanical delay of the left ventricle's late wall, ms: LBBB's; RBBB delays the right ventricle alone."""
        return self.conduction_delay_ms if self.conduction == "lbbb" else 0.0

    @property
    def mitral_opening_ms(self) -> float:
        """Start of filling from R, ms."""
        return self.t_es_ms + self.ivr_ms


def _check_known(what: str, found: str, known: tuple[str, ...]) -> None:
    if found not in known:
        raise CohortError(f"{what} must be one of {known}; found {found!r}. Name one of them.")


def draw_physiology(rng: np.random.Generator, *, prevalence: Prevalence = NATURAL, **overrides: Any) -> Physiology:
    """Draw one patient; any field may be forced, and what depends on it follows.

    A forced EF brings the contractility that gives it, and a failing heart where it is that low. The random numbers are
    consumed in a fixed order whatever is forced, so the same seed with and without an override gives a counterfactual
    pair that differs only in the forced field and its consequences.

    Args:
        rng: Source of randomness.
        prevalence: How often each finding is drawn.
        **overrides: Fields of :class:`Physiology` to force.

    Raises:
        CohortError: If an override is not a field, or the forced values contradict each other.
    """
    unknown = set(overrides) - {item.name for item in fields(Physiology)}
    if unknown:
        raise CohortError(
            f"An override must be a field of Physiology; found {sorted(unknown)}. See the class for the names."
        )
    normal, uniform = rng.standard_normal(20), rng.random(16)

    def value(name: str, default: Any) -> Any:
        return overrides.get(name, default)

    sex = value("sex", "f" if uniform[0] < 0.446 else "m")
    age = float(value("age_years", np.clip(60.0 + 13.0 * normal[0], 20.0, 90.0)))
    bsa_mean, bsa_sd = BODY_SURFACE_M2[sex]
    bsa = float(value("bsa_m2", np.clip(bsa_mean + bsa_sd * normal[12], 1.3, 2.6)))

    territory, extent = _infarct(overrides, uniform, prevalence)
    failing = bool(value("cardiomyopathy", _fails(overrides, uniform[8] < prevalence.cardiomyopathy, extent)))
    hypertrophic = bool(value("hypertrophy", uniform[7] < prevalence.hypertrophy and not failing))
    load = ("pressure", "volume")[int(uniform[10] < 0.5)] if uniform[9] < prevalence.rv_load else ""
    load = value("rv_load", load)
    _check_known("RV load", load, RV_LOADS)
    healthy = not (failing or hypertrophic or territory or load)
    athlete = bool(value("athlete", uniform[11] < prevalence.athlete and healthy))

    share = prevalence.atrial_fibrillation * (4.0 if failing else 1.0)
    fibrillates = bool(value("atrial_fibrillation", uniform[1] < min(share, 1.0) and not athlete))
    raised = (12.0 if fibrillates else 0.0) + (9.0 if failing else 0.0) - (11.0 if athlete else 0.0)
    rate = float(np.clip(HEART_RATE_BPM[0] + HEART_RATE_BPM[1] * normal[1] + raised, *HEART_RATE_RANGE_BPM))
    if uniform[12] < prevalence.tachycardia and not athlete:
        rate = 100.0 + 80.0 * uniform[13] ** 1.5
    if "rr_ms" in overrides and "hr_bpm" not in overrides:
        rate = 60000.0 / overrides["rr_ms"]
    rate = float(value("hr_bpm", rate))
    rr = float(value("rr_ms", 60000.0 / rate))

    # a quarter of failing hearts has a block, mostly LBBB
    share, left = (prevalence.bundle_branch_block + 0.2, 0.8) if failing else (prevalence.bundle_branch_block, 0.4)
    blocked = uniform[2] < (share if prevalence.bundle_branch_block else 0.0)
    conduction = value("conduction", ("lbbb" if uniform[3] < left else "rbbb") if blocked else "")
    if conduction:
        qrsd = np.clip(145.0 + 14.0 * normal[2], 120.0, 185.0)
    else:
        qrsd = np.clip(93.0 + 11.0 * normal[2] + (9.0 if failing else 0.0), 68.0, 119.0)
    qrsd = float(value("qrsd_ms", qrsd))
    widened = max(qrsd - NORMAL_QRSD_MS, 0.0)
    delay = float(value("conduction_delay_ms", 0.8 * widened if conduction else 0.0))
    pr = np.nan if fibrillates else np.clip(163.0 - 0.15 * (rate - 61.5) + 20.0 * normal[3], 110.0, 240.0)
    # A P wave cannot start before the heart has relaxed: at high rates PR shortens.
    pr = float(value("pr_ms", min(pr, 0.30 * rr) if not fibrillates else np.nan))

    qt_residual = QT_RESIDUAL_MS * normal[4]
    qt = float(value("qt_ms", population_qt_ms(sex, rate) + qt_residual + 0.5 * widened))
    # The mechanical clock follows the patient's own repolarisation: part of the QT residual is shared.
    qt_residual = qt - population_qt_ms(sex, rate) - 0.5 * widened
    qs2 = population_qs2_ms(sex, rate) + QS2_PER_QT_RESIDUAL * qt_residual + 0.3 * widened + QS2_RESIDUAL_MS * normal[5]
    t_es = float(value("t_es_ms", qs2 - R_AFTER_QRS_ONSET_MS - PROTODIASTOLE_MS))

    dyssynchrony = delay if conduction == "lbbb" else 0.0
    if failing:  # an infarct or a block is part of the cause, not on top of it
        cause = 0.8 * contractility_for(EF_AT_REST, extent, dyssynchrony)  # below 0: what they cost, in units of k
        late = END_STAGE_CONTRACTILITY if uniform[15] < prevalence.end_stage else 0.0
        contractility = max(FAILING_CONTRACTILITY[0] + late + FAILING_CONTRACTILITY[1] * normal[6] + cause, 0.8)
    else:
        shift = (-0.2 if sex == "f" else 0.2) - (0.7 if hypertrophic else 0.0) + (0.3 if athlete else 0.0)
        contractility = shift + CONTRACTILITY_SD * normal[6]
    noise = EF_NOISE * normal[7]
    if "ef" in overrides:
        contractility = contractility_for(overrides["ef"] - noise, extent, dyssynchrony)
    contractility = float(value("contractility", contractility))
    ef = float(value("ef", np.clip(expected_ef(contractility, extent, dyssynchrony) + noise, *EF_RANGE)))
    rv_ef = float(value("rv_ef", right_ef(ef, sex, load, failing, normal[13])))

    mass_mean, mass_sd = LV_MASS_INDEX[sex]
    mass_index = mass_mean + mass_sd * ((2.6 + 0.9 * abs(normal[8])) if hypertrophic else min(normal[8], 2.0))
    mass_index = float(value("lv_mass_index", mass_index + (14.0 if failing else 10.0 if athlete else 0.0)))
    atrial, ivr, tau = _filling(age, hypertrophic, failing, uniform[14], normal[9:12])
    return Physiology(
        sex=sex,
        age_years=age,
        bsa_m2=bsa,
        hr_bpm=rate,
        rr_ms=rr,
        qrsd_ms=qrsd,
        pr_ms=pr,
        qt_ms=qt,
        ef=ef,
        contractility=contractility,
        cardiomyopathy=failing,
        infarct_territory=territory,
        infarct_extent=extent,
        conduction=conduction,
        conduction_delay_ms=delay,
        atrial_fibrillation=fibrillates,
        atrial_fraction=float(value("atrial_fraction", 0.0 if fibrillates else atrial)),
        t_es_ms=t_es,
        ivr_ms=float(value("ivr_ms", min(ivr, 0.13 * rr))),
        filling_tau_ms=float(value("filling_tau_ms", tau)),
        lv_mass_index=mass_index,
        hypertrophy=hypertrophic,
        athlete=athlete,
        rv_ef=rv_ef,
        rv_load=load,
        mapse_mm=float(value("mapse_mm", mapse_mm(ef, hypertrophic, normal[14]))),
        tapse_mm=float(value("tapse_mm", tapse_mm(rv_ef, load, normal[15]))),
    )


def _infarct(overrides: dict[str, Any], uniform: np.ndarray, prevalence: Prevalence) -> tuple[str, float]:
    territory = TERRITORIES[1 + min(int(3 * uniform[4]), 2)] if uniform[5] < prevalence.infarct else ""
    extent = INFARCT_EXTENT_RANGE[0] + np.ptp(INFARCT_EXTENT_RANGE) * uniform[6]
    if "infarct_extent" in overrides and "infarct_territory" not in overrides and overrides["infarct_extent"] == 0:
        territory = ""
    territory = overrides.get("infarct_territory", territory)
    extent = float(overrides.get("infarct_extent", extent if territory else 0.0))
    if bool(territory) != (extent > 0):
        raise CohortError(
            f"An infarct needs a territory and an extent above 0; found {territory!r} and {extent:g}. Force both."
        )
    return territory, extent


def _fails(overrides: dict[str, Any], drawn: bool, infarct_extent: float) -> bool:
    """Return whether the heart fails: as drawn, unless a forced EF or contractility decides it."""
    if "contractility" in overrides:
        return bool(overrides["contractility"] > contractility_for(FAILING_EF, 0.0, 0.0))
    if "ef" in overrides:
        return bool(contractility_for(overrides["ef"], infarct_extent, 0.0) > contractility_for(FAILING_EF, 0.0, 0.0))
    return drawn


def _filling(
    age_years: float, hypertrophic: bool, failing: bool, pattern: float, normal: np.ndarray
) -> tuple[float, float, float]:
    """Return atrial fraction, isovolumic relaxation (ms) and time constant of early filling (ms).

    Relaxation slows with age and in hypertrophy: a long IVR, slow early filling, a larger atrial part. High filling
    pressures turn it round in half of failing hearts (restrictive: Nagueh et al., J Am Soc Echocardiogr 2016;29:277).
    """
    years = age_years - 65.0
    atrial = 0.25 + 0.004 * years + 0.03 * normal[0] + (0.04 if hypertrophic else 0.0)
    ivr = 75.0 + 0.4 * years + 4.0 * normal[1] + (8.0 if hypertrophic else 0.0)
    tau = 110.0 + 1.0 * years + (15.0 if hypertrophic else 0.0) + 8.0 * normal[2]
    if failing and pattern < 0.5:
        atrial, ivr, tau = 0.14 + 0.02 * normal[0], 58.0 + 4.0 * normal[1], 85.0 + 8.0 * normal[2]
    return float(np.clip(atrial, 0.10, 0.40)), float(np.clip(ivr, 50.0, 100.0)), float(np.clip(tau, 65.0, 160.0))
