"""The physiology of one synthetic patient, and the left-ventricular volume over one heartbeat.

Every latent of the phantom is drawn here, with the couplings that decide what only the ECG knows: ejection fraction
follows QRS duration, infarct extent and contractility; the clock of the beat follows heart rate and sex (systolic time
intervals of Weissler 1968 and of Boudoulas et al., Chest 1981;80:613). Population values follow the UK Biobank
(Petersen et al., J Cardiovasc Magn Reson 2017;19:18).
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from COFGeneratorLib.errors import CohortError
from scipy.special import betainc

TERRITORIES = ("", "anterior", "inferior", "lateral")
CONDUCTIONS = ("", "lbbb", "rbbb")

R_AFTER_QRS_ONSET_MS = 40.0
"""Time zero is the R peak; systolic time intervals and QT count from the onset of QRS, taken 40 ms earlier."""

NORMAL_QRSD_MS = 95.0
EJECTION_SHAPE = (2.0, 2.4)
EF_NOISE = 0.02
EF_RANGE = (0.15, 0.78)
CONTRACTILITY_SD = 0.9
HEART_RATE_BPM = (61.5, 11.6)
HEART_RATE_RANGE_BPM = (42.0, 110.0)
QT_RESIDUAL_MS = 12.0
QS2_RESIDUAL_MS = 5.0
QS2_PER_QT_RESIDUAL = 0.6
INFARCT_EXTENT_RANGE = (0.05, 0.35)


@dataclass(frozen=True)
class Prevalence:
    """How often each finding is drawn; the defaults are the natural cohort, training may oversample.

    Args:
        infarct: Probability of an infarct; territories are equally likely.
        bundle_branch_block: Probability of LBBB or RBBB, equally likely.
        atrial_fibrillation: Probability of atrial fibrillation.
        hypertrophy: Probability of left-ventricular hypertrophy.
    """

    infarct: float = 0.20
    bundle_branch_block: float = 0.12
    atrial_fibrillation: float = 0.04
    hypertrophy: float = 0.10

    def __post_init__(self) -> None:
        for item in fields(self):
            if not 0.0 <= getattr(self, item.name) <= 1.0:
                raise CohortError(
                    f"A prevalence must lie between 0 and 1; found {item.name} = {getattr(self, item.name)}. "
                    "State it as a fraction."
                )


NATURAL = Prevalence()


@dataclass(frozen=True)
class Physiology:
    """The latent state of one synthetic patient at the time of the ECG.

    Times are ms; those named ``t_`` count from the R peak.

    Attributes:
        sex: ``"m"`` or ``"f"``.
        age_years: Age.
        hr_bpm, rr_ms: Heart rate and the R–R interval that belongs to it.
        qrsd_ms: QRS duration.
        pr_ms: P onset to QRS onset; NaN in atrial fibrillation.
        qt_ms: QRS onset to T end.
        ef: Ejection fraction of the left ventricle, fraction.
        contractility: Latent k, SD 0.9; a larger k is a *weaker* ventricle (EF falls by 0.08 k).
        infarct_territory: ``""``, ``"anterior"``, ``"inferior"`` or ``"lateral"``.
        infarct_extent: Fraction of the myocardium, 0 … 0.35.
        conduction: ``""``, ``"lbbb"`` or ``"rbbb"``.
        conduction_delay_ms: Largest mechanical delay of the late-activated wall.
        atrial_fibrillation: Whether the atria fibrillate.
        atrial_fraction: Share of the filling that the atrial contraction gives; 0 in atrial fibrillation.
        t_es_ms: End of ejection.
        ivr_ms: Isovolumic relaxation, end of ejection to mitral opening.
        filling_tau_ms: Time constant of early filling.
        lv_mass_index: LV mass over body surface, g/m².
        hypertrophy: Whether the LV is hypertrophic.
    """

    sex: str
    age_years: float
    hr_bpm: float
    rr_ms: float
    qrsd_ms: float
    pr_ms: float
    qt_ms: float
    ef: float
    contractility: float
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

    def __post_init__(self) -> None:
        if self.infarct_territory not in TERRITORIES:
            raise CohortError(
                f"Infarct territory must be one of {TERRITORIES}; found {self.infarct_territory!r}. Name one of them."
            )
        if self.conduction not in CONDUCTIONS:
            raise CohortError(f"Conduction must be one of {CONDUCTIONS}; found {self.conduction!r}. Name one of them.")
        if not self.rr_ms > self.t_es_ms + self.ivr_ms:
            raise CohortError(
                f"One R–R must outlast systole ({self.t_es_ms + self.ivr_ms:.0f} ms here); found {self.rr_ms:.0f} ms. "
                "Lower the heart rate or shorten ejection."
            )

    @property
    def ejection_onset_ms(self) -> float:
        """Opening of the aortic valve from R, ms: pre-ejection period (Weissler), longer with a wide QRS."""
        pep = 131.0 - 0.4 * self.hr_bpm if self.sex == "m" else 133.0 - 0.4 * self.hr_bpm
        return pep - R_AFTER_QRS_ONSET_MS + 0.35 * max(self.qrsd_ms - NORMAL_QRSD_MS, 0.0)

    @property
    def mitral_opening_ms(self) -> float:
        """Start of filling from R, ms."""
        return self.t_es_ms + self.ivr_ms


def expected_ef(
    qrsd_ms: float | np.ndarray, infarct_extent: float | np.ndarray, contractility: float | np.ndarray
) -> np.ndarray:
    """Return the ejection fraction that is expected from what the ECG can show, before noise; a fraction.

    Args:
        qrsd_ms: QRS duration, ms (scalar or array).
        infarct_extent: Fraction of the myocardium.
        contractility: Latent k.
    """
    widened = np.maximum(np.asarray(qrsd_ms) - NORMAL_QRSD_MS, 0.0)
    return 0.62 - 0.0010 * widened - 0.35 * np.asarray(infarct_extent) - 0.08 * np.asarray(contractility)


def population_qt_ms(sex: str, hr_bpm: float) -> float:
    """Return the mean QT at a heart rate, ms (Chest 1981;80:613)."""
    return 521.0 - 2.0 * hr_bpm if sex == "m" else 511.0 - 1.8 * hr_bpm


def population_qs2_ms(sex: str, hr_bpm: float) -> float:
    """Return the mean electromechanical systole (QRS onset to aortic closure) at a heart rate, ms."""
    return 541.0 - 2.2 * hr_bpm if sex == "m" else 540.0 - 2.0 * hr_bpm


def draw_physiology(rng: np.random.Generator, *, prevalence: Prevalence = NATURAL, **overrides: Any) -> Physiology:
    """Draw one patient; any field may be forced, and what depends on it follows.

    The random numbers are consumed in a fixed order whatever is forced, so the same seed with and without an override
    gives a counterfactual pair that differs only in the forced field and its consequences.

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
    normal, uniform = rng.standard_normal(12), rng.random(9)

    def value(name: str, default: Any) -> Any:
        return overrides.get(name, default)

    sex = value("sex", "f" if uniform[0] < 0.446 else "m")
    age = float(value("age_years", np.clip(65.3 + 7.75 * normal[0], 40.0, 88.0)))

    fibrillates = bool(value("atrial_fibrillation", uniform[1] < prevalence.atrial_fibrillation))
    rate = HEART_RATE_BPM[0] + HEART_RATE_BPM[1] * normal[1] + (12.0 if fibrillates else 0.0)
    rate = float(np.clip(rate, *HEART_RATE_RANGE_BPM))
    if "rr_ms" in overrides and "hr_bpm" not in overrides:
        rate = 60000.0 / overrides["rr_ms"]
    rate = float(value("hr_bpm", rate))
    rr = float(value("rr_ms", 60000.0 / rate))

    blocked = uniform[2] < prevalence.bundle_branch_block
    conduction = value("conduction", ("lbbb" if uniform[3] < 0.5 else "rbbb") if blocked else "")
    if conduction:
        qrsd = np.clip(145.0 + 14.0 * normal[2], 120.0, 185.0)
    else:
        qrsd = np.clip(93.0 + 11.0 * normal[2], 68.0, 119.0)
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
    t_es = float(value("t_es_ms", qs2 - R_AFTER_QRS_ONSET_MS))

    territory = TERRITORIES[1 + min(int(3 * uniform[4]), 2)] if uniform[5] < prevalence.infarct else ""
    extent = INFARCT_EXTENT_RANGE[0] + np.ptp(INFARCT_EXTENT_RANGE) * uniform[6]
    if "infarct_extent" in overrides and "infarct_territory" not in overrides and overrides["infarct_extent"] == 0:
        territory = ""
    territory = value("infarct_territory", territory)
    extent = float(value("infarct_extent", extent if territory else 0.0))
    if bool(territory) != (extent > 0):
        raise CohortError(
            f"An infarct needs a territory and an extent above 0; found {territory!r} and {extent:g}. Force both."
        )

    contractility = float(value("contractility", CONTRACTILITY_SD * normal[6]))
    ef = expected_ef(qrsd, extent, contractility) + EF_NOISE * normal[7]
    ef = float(value("ef", np.clip(ef, *EF_RANGE)))

    hypertrophic = bool(value("hypertrophy", uniform[7] < prevalence.hypertrophy))
    mass_mean, mass_sd = (53.0, 9.0) if sex == "m" else (42.0, 7.0)
    mass_index = mass_mean + mass_sd * ((2.6 + 0.6 * abs(normal[8])) if hypertrophic else min(normal[8], 2.0))
    mass_index = float(value("lv_mass_index", mass_index))

    atrial = np.clip(0.25 + 0.004 * (age - 65.0) + 0.03 * normal[9], 0.15, 0.35)
    atrial = float(value("atrial_fraction", 0.0 if fibrillates else atrial))
    ivr = float(value("ivr_ms", np.clip(75.0 + 0.4 * (age - 65.0) + 4.0 * normal[10], 60.0, 90.0)))
    tau = 110.0 + 1.2 * (age - 65.0) + (15.0 if hypertrophic else 0.0) + 8.0 * normal[11]
    tau = float(value("filling_tau_ms", np.clip(tau, 75.0, 160.0)))
    return Physiology(
        sex=sex,
        age_years=age,
        hr_bpm=rate,
        rr_ms=rr,
        qrsd_ms=qrsd,
        pr_ms=pr,
        qt_ms=qt,
        ef=ef,
        contractility=contractility,
        infarct_territory=territory,
        infarct_extent=extent,
        conduction=conduction,
        conduction_delay_ms=delay,
        atrial_fibrillation=fibrillates,
        atrial_fraction=atrial,
        t_es_ms=t_es,
        ivr_ms=ivr,
        filling_tau_ms=tau,
        lv_mass_index=mass_index,
        hypertrophy=hypertrophic,
    )


def volume_fraction(physiology: Physiology, time_ms: float | np.ndarray) -> np.ndarray:
    """Return the contraction s(t) of the left ventricle, 0 at R and 1 from end of ejection to mitral opening.

    V(t) = EDV − (EDV − ESV)·s(t). Isovolumic contraction, ejection along a Beta(2, 2.4) distribution function,
    isovolumic plateau, early filling, and the atrial kick that ends at the next R. The curve is continuous and periodic
    over one R–R: filling that a short R–R cuts off is scaled so that the next beat starts where this one did.

    Args:
        physiology: The patient.
        time_ms: (T,) times from R, ms; any real number, wrapped onto one R–R.

    Returns:
        (T,) float64 in [0, 1].
    """
    time = np.mod(np.asarray(time_ms, dtype=np.float64), physiology.rr_ms)
    onset, opening = physiology.ejection_onset_ms, physiology.mitral_opening_ms
    ejected = betainc(*EJECTION_SHAPE, np.clip((time - onset) / (physiology.t_es_ms - onset), 0.0, 1.0))

    def early(moment: float | np.ndarray) -> np.ndarray:
        return 1.0 - np.exp(-((np.maximum(moment - opening, 0.0) / physiology.filling_tau_ms) ** 1.5))

    share = 0.0 if physiology.atrial_fibrillation else physiology.atrial_fraction
    filled = (1.0 - share) * early(time) / early(physiology.rr_ms)
    if share > 0:
        # P onset + 90 ms; P onset lies PR before QRS onset, which is 40 ms before R.
        kick = max(physiology.rr_ms - physiology.pr_ms - R_AFTER_QRS_ONSET_MS + 90.0, opening)
        kick = min(kick, physiology.rr_ms - 40.0)
        progress = np.clip((time - kick) / (physiology.rr_ms - kick), 0.0, 1.0)
        filled = filled + share * 0.5 * (1.0 - np.cos(np.pi * progress))
    return np.clip(ejected - filled, 0.0, 1.0)
