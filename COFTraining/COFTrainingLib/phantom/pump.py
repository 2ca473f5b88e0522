"""How the ventricles pump: ejection fractions and long-axis excursions that follow from a patient's findings.

Normal values: LVEF 58 ± 5 % in men and 61 ± 5 % in women, RVEF 54 ± 6 and 58 ± 6 % (Petersen et al., J Cardiovasc Magn
Reson 2017;19:18). TAPSE 24 ± 3.5 mm (Rudski et al., J Am Soc Echocardiogr 2010;23:685). RVEF in dilated cardiomyopathy
42 ± 14 %, loosely tied to LVEF (Gulati et al., Circulation 2013;128:1623); under pressure load 38 ± 10 % (van de
Veerdonk et al., J Am Coll Cardiol 2011;58:2511).
"""

import numpy as np

EF_PER_CONTRACTILITY = 0.08
EF_PER_INFARCT = 0.60
"""An infarct of 20 % of the myocardium costs 12 points (Sievers et al., J Cardiovasc Magn Reson 2004;6:623: EF falls by
about 0.6 points per percent)."""
EF_PER_DYSSYNCHRONY_MS = 0.0015
"""Of LBBB: 6 points at a mechanical delay of 40 ms (Thambo et al., Heart Rhythm 2004; Vaillant et al., JACC 2013)."""
EF_AT_REST = 0.60
EF_RANGE = (0.10, 0.78)
RV_EF_RANGE = (0.08, 0.74)
RV_EF = {"m": 0.54, "f": 0.58}
RV_LOADS = ("", "pressure", "volume")
RV_EF_SD = {"": 0.055, "pressure": 0.08, "volume": 0.07}
RV_EF_SHIFT = {"": 0.0, "pressure": -0.17, "volume": -0.02}
FAILING_RV_EF_SD = 0.125


def expected_ef(
    contractility: float | np.ndarray,
    infarct_extent: float | np.ndarray = 0.0,
    dyssynchrony_ms: float | np.ndarray = 0.0,
) -> np.ndarray:
    """Return the ejection fraction that is expected from what the ECG can show, before noise; a fraction.

    Args:
        contractility: Latent k, scalar or array.
        infarct_extent: Fraction of the myocardium.
        dyssynchrony_ms: Mechanical delay of the left ventricle's late wall, ms.
    """
    loss = EF_PER_CONTRACTILITY * np.asarray(contractility) + EF_PER_INFARCT * np.asarray(infarct_extent)
    return EF_AT_REST - loss - EF_PER_DYSSYNCHRONY_MS * np.asarray(dyssynchrony_ms)


def contractility_for(ef: float, infarct_extent: float, dyssynchrony_ms: float) -> float:
    """Return the contractility at which ``expected_ef`` is ``ef``."""
    return float((expected_ef(0.0, infarct_extent, dyssynchrony_ms) - ef) / EF_PER_CONTRACTILITY)


def right_ef(ef: float, sex: str, rv_load: str, failing: bool, deviation: float) -> float:
    """Return the RV's ejection fraction, a fraction; ``deviation`` is the person's own, in standard deviations."""
    shared = 0.55 * min(ef - 0.55, 0.0) + 0.2 * max(ef - 0.55, 0.0)
    spread = max(RV_EF_SD[rv_load], FAILING_RV_EF_SD if failing else 0.0)
    return float(np.clip(RV_EF[sex] + shared + RV_EF_SHIFT[rv_load] + spread * deviation, *RV_EF_RANGE))


def mapse_mm(ef: float, hypertrophy: bool, deviation: float) -> float:
    """Return the descent of the mitral plane, mm: 13 mm at an EF of 60 %, with it to 4 mm at 20 %.

    Hypertrophic hearts keep their EF, not their long-axis function (Hu et al., Eur Heart J Cardiovasc Imaging 2013).
    """
    return float(np.clip(13.0 * ef / 0.6 - (2.5 if hypertrophy else 0.0) + 1.2 * deviation, 2.0, 19.0))


def tapse_mm(rv_ef: float, rv_load: str, deviation: float) -> float:
    """Return the descent of the tricuspid plane at the free wall, mm."""
    mean = 24.0 + 40.0 * (rv_ef - 0.56) + (2.0 if rv_load == "volume" else 0.0)
    return float(np.clip(mean + 2.5 * deviation, 5.0, 32.0))
