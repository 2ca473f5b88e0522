"""An anchor where there is none: a heart of the size usual for sex, age, body and ECG, and how wide "usual" is.

Volumes and mass follow the UK Biobank's reference values (Petersen et al., J Cardiovasc Magn Reson 2017;19:18); mass
shifts a little with the Sokolow–Lyon voltage (r ≈ 0.25). Everything else (shape, position, image) is a convention. The
anatomy is NOT the patient's, and the spread over draws says how little is known.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.errors import AnatomyError

NOTICE = (
    "TEMPLATE ANATOMY, NOT the patient's: sizes are the population's for sex, age and body size. Volumes, mass, stroke "
    "volume and output are guesses of that width; see the intervals. Only timing and EF follow the ECG."
)
MEAN_BSA_M2 = {"m": 1.98, "f": 1.71}
REFERENCE = {
    "m": {"edv": (166.0, 32.0), "mass_index": (53.0, 9.0), "rv_edv": (182.0, 36.0)},
    "f": {"edv": (124.0, 21.0), "mass_index": (42.0, 7.0), "rv_edv": (130.0, 24.0)},
}
"""By sex, mean and SD: EDV in mL at the mean body surface, mass over body surface in g/m²."""
MEAN_AGE_YEARS, EDV_PER_DECADE = 61.0, -0.04
"""Volumes fall with age by about this share a decade (an approximation, applied between 45 and 75 years)."""
SOKOLOW_MV, VOLTAGE_R = (2.5, 0.8), 0.25
WALL_DENSITY = 1.05
SHAPE, SPACING_MM = (14, 112, 112), (8.0, 1.6, 1.6)
ATRIA_MM = 36.0
SIGNAL = {"lung": 60.0, "body": 160.0, "blood": 900.0, "wall": 300.0}


@dataclass(frozen=True)
class Person:
    """What is asked of the person.

    Args:
        sex: ``"m"`` or ``"f"``.
        age_years: 18–100.
        height_cm: 120–220.
        weight_kg: 30–200.

    Raises:
        AnatomyError: If a value cannot be a grown person's.
    """

    sex: str
    age_years: float
    height_cm: float
    weight_kg: float

    def __post_init__(self) -> None:
        if (
            self.sex not in REFERENCE
            or not 18 <= self.age_years <= 100
            or not 120 <= self.height_cm <= 220
            or not 30 <= self.weight_kg <= 200
        ):
            raise AnatomyError(
                "A template needs sex m or f, age 18–100 years, height 120–220 cm and weight 30–200 kg; found "
                f"{self.sex!r}, {self.age_years:g}, {self.height_cm:g}, {self.weight_kg:g}. Give a grown person's."
            )

    @property
    def bsa_m2(self) -> float:
        """Body surface, m² (Mosteller)."""
        return float(np.sqrt(self.height_cm * self.weight_kg / 3600.0))


@dataclass(frozen=True)
class TemplateAnchor:
    """A made anchor with its labels, and the sizes it has."""

    anchor: SaxStack
    labels: np.ndarray
    sizes: dict[str, float]


def expected_sizes(person: Person, sokolow_mv: float) -> dict[str, tuple[float, float]]:
    """Return mean and SD of ``edv_ml``, ``rv_edv_ml`` and ``mass_g`` of people like this one."""
    known = REFERENCE[person.sex]
    size = person.bsa_m2 / MEAN_BSA_M2[person.sex]
    age = 1.0 + EDV_PER_DECADE * (np.clip(person.age_years, 45, 75) - MEAN_AGE_YEARS) / 10.0
    mean, sd = known["mass_index"]
    voltage = np.clip((sokolow_mv - SOKOLOW_MV[0]) / SOKOLOW_MV[1], -2.5, 2.5) if np.isfinite(sokolow_mv) else 0.0
    mass, spread = mean + VOLTAGE_R * sd * voltage, sd * np.sqrt(1.0 - VOLTAGE_R**2)
    return {
        "edv_ml": (known["edv"][0] * size * age, known["edv"][1] * size * age),
        "rv_edv_ml": (known["rv_edv"][0] * size * age, known["rv_edv"][1] * size * age),
        "mass_g": (mass * person.bsa_m2, spread * person.bsa_m2),
    }


def template_anchor(person: Person, sokolow_mv: float, seed: int | None = None) -> TemplateAnchor:
    """Make an anchor of the most likely sizes, or of one draw with a seed; the voltage (mV) may be NaN."""
    drawn = draw_sizes(expected_sizes(person, sokolow_mv), seed)
    labels = _labels(drawn, drawn.pop("radius_over_length"))
    pixel_ml = float(np.prod(SPACING_MM)) / 1000.0
    drawn["labelled_edv_ml"] = float((labels == 1).sum() * pixel_ml)
    drawn["labelled_mass_g"] = float((labels == 2).sum() * pixel_ml * WALL_DENSITY)
    return TemplateAnchor(SaxStack(_image(labels), _geometry(), warnings=(NOTICE,)), labels, drawn)


def draw_sizes(sizes: dict[str, tuple[float, float]], seed: int | None) -> dict[str, float]:
    """Return the most likely sizes (seed None), or one draw from their distribution."""
    rng = np.random.default_rng(0 if seed is None else [seed, 51])
    z = rng.standard_normal(4) * (seed is not None)
    z[1] = 0.7 * z[0] + np.sqrt(1 - 0.7**2) * z[1]  # both ventricles are large or small together
    z[2] = 0.5 * z[0] + np.sqrt(1 - 0.5**2) * z[2]
    drawn = {
        name: max(mean + sd * float(np.clip(draw, -2.5, 2.5)), 0.4 * mean)
        for (name, (mean, sd)), draw in zip(sizes.items(), z[:3], strict=True)
    }
    return {**drawn, "radius_over_length": float(np.clip(0.30 + 0.025 * z[3], 0.24, 0.38))}


def _labels(sizes: dict[str, float], ratio: float) -> np.ndarray:
    """Return (D, H, W) uint8: an LV of the wanted volume and mass (half a super-ellipsoid), the RV a crescent on it."""
    power = 2.5
    length = (1000.0 * sizes["edv_ml"] * (power + 1) / (np.pi * ratio**2 * power)) ** (1 / 3)
    radius = ratio * length
    k, j, i = _heart_points()
    z = k + 0.45 * length
    r, theta = np.hypot(j, i), np.arctan2(j, i)

    def profile(size: float, reach: float) -> np.ndarray:
        return size * np.sqrt(np.clip(1.0 - np.clip(z / reach, 0.0, 1.0) ** power, 0.0, None)) * (z >= 0)

    cavity = r < profile(radius, length)
    wanted_ml = sizes["mass_g"] / WALL_DENSITY
    wall = _solve(
        lambda w: _half_volume_ml(radius + w, length + 0.7 * w, power) - sizes["edv_ml"] - wanted_ml, 2.0, 30.0
    )
    outer = profile(radius + wall, length + 0.7 * wall)
    side = np.clip(1.0 - (np.angle(np.exp(1j * (theta - np.pi))) / 1.25) ** 2, 0.0, None)
    along = np.clip(1.0 - np.clip(z / (0.85 * length), 0.0, 1.0) ** 2, 0.0, None) * (z >= 0)
    voxel_ml = float(np.prod(SPACING_MM)) / 1000.0

    def crescent(depth: float) -> np.ndarray:
        return (r >= outer) & (r < outer + depth * side * along) & (side * along > 0)

    depth = _solve(lambda d: crescent(d).sum() * voxel_ml - sizes["rv_edv_ml"], 5.0, 80.0)
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[crescent(depth)] = 3
    labels[(r < outer) & ~cavity] = 2
    labels[cavity] = 1
    return labels


def _half_volume_ml(radius: float, length: float, power: float) -> float:
    return np.pi * radius**2 * length * power / (power + 1) / 1000.0


def _solve(excess: Callable[[float], float], low: float, high: float) -> float:
    """Return where a rising function passes zero, by bisection."""
    for _ in range(22):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if excess(middle) < 0 else (low, middle)
    return 0.5 * (low + high)


def _heart_points() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    axes = [(np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(SHAPE, SPACING_MM, strict=True)]
    axes[2] = axes[2] - 12.0  # the RV needs room on its side
    return tuple(np.meshgrid(*axes, indexing="ij"))


def _image(labels: np.ndarray) -> np.ndarray:
    """Return a plain image of the labels, blurred as a scan is; grey levels are a convention."""
    from scipy.ndimage import gaussian_filter

    _, j, i = _heart_points()
    image = np.where(np.hypot(j / 75.0, (i + 20.0) / 80.0) < 1.0, SIGNAL["lung"], SIGNAL["body"])
    image[labels == 2] = SIGNAL["wall"]
    image[(labels == 1) | (labels == 3)] = SIGNAL["blood"]
    base = int((labels > 0).any(axis=(1, 2)).argmax())
    for above in range(base):  # atria, for the base to come down into; they carry no label
        shrunk = (base - above) * SPACING_MM[0] < ATRIA_MM
        image[above][np.isin(labels[base], (1, 3)) & shrunk] = SIGNAL["blood"]
    return np.rint(gaussian_filter(image, (0.0, 0.7, 0.7))).astype(np.float32)


def _geometry() -> np.ndarray:
    """Return (4, 4) ijk → RAS: a heart at the origin, its apex left, forward and down."""
    apex = np.array([-0.62, 0.52, -0.59]) / np.linalg.norm([-0.62, 0.52, -0.59])
    lateral = np.array([-0.75, -0.65, 0.10])
    lateral -= apex * (apex @ lateral)
    lateral /= np.linalg.norm(lateral)
    inferior = np.cross(lateral, apex)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([lateral * SPACING_MM[2], inferior * SPACING_MM[1], apex * SPACING_MM[0]], axis=1)
    matrix[:3, 3] = -matrix[:3, :3] @ ((np.array(SHAPE[::-1]) - 1) / 2)
    return matrix


def parse_person(text: str) -> Person:
    """Parse ``f,62,165,70``: sex, age in years, height in cm, weight in kg.

    Raises:
        AnatomyError: If the text or a value cannot be right.
    """
    parts = [part.strip() for part in text.split(",")]
    try:
        age, height, weight = (float(part) for part in parts[1:])
    except ValueError as error:
        raise AnatomyError(
            f"A template is described as SEX,AGE,HEIGHT_CM,WEIGHT_KG, e.g. f,62,165,70; found {text!r}. Correct it."
        ) from error
    return Person(parts[0].lower(), age, height, weight)


def facts_of(person: Person, template: TemplateAnchor, sizes: dict[str, tuple[float, float]]) -> dict[str, Any]:
    """Return what ``run.json`` says of a template."""
    return {
        "anatomy": "template: not the patient's",
        "template": {
            "sex": person.sex, "age_years": person.age_years, "bsa_m2": round(person.bsa_m2, 3),
            "expected": {name: {"mean": round(mean, 1), "sd": round(sd, 1)} for name, (mean, sd) in sizes.items()},
            "labelled": {name: round(value, 1) for name, value in template.sizes.items()},
        },
    }  # fmt: skip
