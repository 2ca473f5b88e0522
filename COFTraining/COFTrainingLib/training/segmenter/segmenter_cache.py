"""Tissue maps of many drawn patients, made once: contrast, orientation and artefacts are drawn anew at each use.

Each patient gives two stacks from the same slices: a fine one around the heart and a coarse one of the whole chest.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.files import replacing, write_json
from COFGeneratorLib.jobs.workers import spread
from scipy.ndimage import binary_closing, binary_dilation, label

from COFTrainingLib.phantom.heart import BeatingHeart
from COFTrainingLib.phantom.physiology import Physiology, draw_physiology
from COFTrainingLib.phantom.prevalence import ENRICHED
from COFTrainingLib.phantom.pump import tapse_mm
from COFTrainingLib.phantom.stacks import StackGeometry, sample_tissues, stack_axes
from COFTrainingLib.phantom.surroundings import Scene
from COFTrainingLib.phantom.tissues import Tissue
from COFTrainingLib.phantom.varied_shape import TabulatedShape, VariedShape, draw_varied_shape

LUMEN = (Tissue.LV_BLOOD, Tissue.LV_PAPILLARY, Tissue.LV_TRABECULA, Tissue.LV_ORIFICE)
RV_CAVITY = (Tissue.RV_BLOOD, Tissue.RV_TRABECULA)
ENOUGH_MYOCARDIUM = 0.25
"""A basal slice counts to the LV where this share of its lumen's border is myocardium: readers' half, less the border
of the outflow tract, which guidelines count to the ventricle up to the aortic cusps although fibrous tissue bounds it
(Schulz-Menger et al., JCMR 2020). One rule for all: a rule that varies teaches a network to halve such slices."""

ENOUGH_RV = 0.5
"""Where at least this share of a right lumen lies below the tricuspid valve readers draw all of it, else nothing."""


PAD = 4
PADDED = ((0, 0), (0, 0), (PAD, PAD), (PAD, PAD))
"""A margin, so that closing does not erode at the border of the picture."""
COMPACT_FROM = 0.5
"""Contraction from which the right ventricle's trabeculae have closed up to what is read as its wall."""
MESH_MM = 3.0
"""Blood this near on both sides makes a trabecula part of the cavity, at any time."""

RV_UNLIKE_LV, RV_EF_RANGE = 0.6, (0.08, 0.72)
"""Share of the patients whose right ventricle has an EF of its own, and from where to where it is drawn."""
RV_BASE_RANGE_MM = (-16.0, 12.0)
"""Height of the tricuspid above the mitral plane at end-diastole."""


@dataclass(frozen=True)
class CacheConfig:
    """What a cache holds.

    Args:
        subjects: Drawn patients, one stack each.
        seed: First of their seeds; subject n has the seed (seed, n).
        fine_size, fine_mm: Pixels and spacing of the fine stack.
        coarse_size, coarse_mm: Pixels and spacing of the coarse stack.
        slab: Samples through the thickness of a slice.
        min_slices, max_slices: Slices of a stack.
        part: Subjects in one file; their number is rounded up to whole files.
    """

    subjects: int = 800
    seed: int = 1
    fine_size: int = 152
    fine_mm: float = 1.25
    coarse_size: int = 112
    coarse_mm: float = 3.6
    slab: int = 3
    min_slices: int = 5
    max_slices: int = 20
    part: int = 25


def make_subject(config: CacheConfig, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the fine (D, S, H, W) and the coarse (D, 1, h, w) tissues of one subject, uint8, base first, upright."""
    rng = np.random.default_rng((config.seed, number))
    physiology = vary_right_ejection(rng, draw_physiology(rng, prevalence=ENRICHED))
    when = rng.random()
    time_ms = 0.0 if when < 0.4 else physiology.t_es_ms if when < 0.75 else rng.uniform(0.0, physiology.rr_ms)
    shape = vary_right_ventricle(rng, draw_varied_shape(rng, physiology))
    heart = BeatingHeart(TabulatedShape(shape), physiology)
    contraction = float(heart.contraction(time_ms))
    scene = Scene(rng, heart, outflow=rng.random() < 0.85)
    thickness = rng.uniform(5.0, 10.0)
    pitch = thickness + rng.choice([rng.uniform(0, 3), rng.uniform(2, 10)], p=(0.75, 0.25))
    above, below = rng.uniform(-12.0, 32.0), rng.uniform(-8.0, 28.0)
    span = shape.length_mm + shape.apex_wall_mm + above + below
    slices = int(np.clip(round(span / pitch), config.min_slices, config.max_slices))
    first = -shape.centroid_z_mm - above
    axes = stack_axes(rng, tilt_rad=0.10, upright=True)
    shifts = rng.normal(0.0, rng.choice([0.0, 1.0, 2.5]), (slices, 3)) * np.array([0.5, 1.0, 0.6])
    middle = np.array([first, 0.0, -0.35 * shape.rv_depth_mm - 3.0])
    stacks = []
    for size, spacing, slab in (
        (config.fine_size, config.fine_mm, config.slab),
        (config.coarse_size, config.coarse_mm, 1),
    ):
        matrix = np.eye(4)
        matrix[:3, :3] = axes.T * np.array([pitch, spacing, spacing])
        matrix[:3, 3] = middle - (axes[1] + axes[2]) * spacing * (size - 1) / 2
        geometry = StackGeometry((slices, size, size), matrix, thickness, shifts)
        tissues = contour_base(sample_tissues(scene, geometry, float(time_ms), slab))
        stacks.append(contour_trabeculae(tissues, spacing) if contraction > COMPACT_FROM else tissues)
    return stacks[0], stacks[1]


def vary_right_ejection(rng: np.random.Generator, physiology: Physiology) -> Physiology:
    """Draw, for most patients, how far the right ventricle empties without regard to the left one."""
    rv_ef, unlike = float(rng.uniform(*RV_EF_RANGE)), rng.random() < RV_UNLIKE_LV
    if not unlike:
        return physiology
    return replace(physiology, rv_ef=rv_ef, tapse_mm=tapse_mm(rv_ef, physiology.rv_load, float(rng.normal())))


def vary_right_ventricle(rng: np.random.Generator, shape: VariedShape) -> VariedShape:
    """Draw a right ventricle that is slim or wide whatever the left one is, and where its valve lies.

    The tricuspid valve lies nearer to the apex than the mitral one, so that slices through the left ventricle's base
    show the right atrium.
    """
    return replace(
        shape,
        rv_depth_mm=shape.rv_depth_mm * float(np.clip(np.exp(rng.normal(-0.1, 0.3)), 0.4, 1.5)),
        rv_base_mm=float(rng.uniform(*RV_BASE_RANGE_MM)),
    )


def contour_base(tissues: np.ndarray, enough: float = ENOUGH_MYOCARDIUM) -> np.ndarray:
    """Decide on the basal slices as readers do: all of a lumen or none, never a cut along a line that no image shows.

    Contouring guidelines count a basal slice to the LV where at least half of the blood is surrounded by myocardium
    (Schulz-Menger et al., JCMR 2020).

    Args:
        tissues: (D, S, H, W) uint8; changed in place.
        enough: Share of the lumen's border that must be myocardium; a lumen of less than half of the largest one's
            area is none, and so is all above a slice that is none.
    """
    lumens = [np.isin(stack[len(stack) // 2], LUMEN) for stack in tissues]
    areas = np.array([lumen.sum() for lumen in lumens])
    beyond = False  # above a slice that is not the LV's, none is
    for k in range(len(tissues) - 1, -1, -1):
        stack, lumen = tissues[k], lumens[k]
        if not beyond and areas[k] and (stack == Tissue.LV_ORIFICE).any():
            border = binary_dilation(lumen, iterations=2) & ~lumen
            walled = (stack[len(stack) // 2][border] == Tissue.MYOCARDIUM).mean()
            beyond = walled < enough or areas[k] < 0.5 * areas.max()
        if beyond:
            stack[np.isin(stack, LUMEN)] = Tissue.LV_ORIFICE
            stack[stack == Tissue.MYOCARDIUM] = Tissue.RV_WALL
        else:
            stack[stack == Tissue.LV_ORIFICE] = Tissue.LV_BLOOD
        _contour_right(stack)
    return tissues


def contour_trabeculae(tissues: np.ndarray, spacing_mm: float) -> np.ndarray:
    """Leave those trabeculae out of the right ventricle that lie along its wall, as readers do in systole.

    They follow the border of bright blood; what muscle it encloses is counted to the cavity.

    Args:
        tissues: (D, S, H, W) uint8; changed in place.
        spacing_mm: Pixel size.
    """
    cross = np.zeros((1, 1, 3, 3), dtype=bool)
    cross[0, 0, 1], cross[0, 0, :, 1] = True, True
    reach = max(round(0.5 * MESH_MM / spacing_mm), 1)
    cavity = binary_closing(np.pad(tissues == Tissue.RV_BLOOD, PADDED), cross, iterations=reach)
    tissues[(tissues == Tissue.RV_TRABECULA) & ~cavity[:, :, PAD:-PAD, PAD:-PAD]] = Tissue.RV_RIM
    return tissues


def _contour_right(stack: np.ndarray) -> None:
    """Decide on each right lumen of a slice (S, H, W) as a whole, in place: inflow and outflow tract may be apart."""
    if not (stack == Tissue.RV_ORIFICE).any():
        return
    right = np.isin(stack, (*RV_CAVITY, Tissue.RV_ORIFICE))
    parts, count = label(right.any(axis=0))
    parts = np.where(right, parts, 0)
    total = np.bincount(parts.ravel(), minlength=count + 1)
    above = np.bincount(parts[stack == Tissue.RV_ORIFICE], minlength=count + 1)
    ventricle = above <= (1.0 - ENOUGH_RV) * total
    counts = ventricle[parts]
    stack[right & counts & (stack == Tissue.RV_ORIFICE)] = Tissue.RV_BLOOD
    stack[right & ~counts] = Tissue.RV_ORIFICE


def make_cache(
    folder: Path | str, config: CacheConfig, workers: int = 1, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Make a cache, or the part of it that is missing.

    Args:
        folder: Where; holds ``part-00000.npy`` … of ``config.part`` subjects each, and ``cache.json``.
        config: What it holds. A folder made with other settings is refused, unless only more subjects are wanted.
        workers: Processes.
        progress: Called with (subjects made, subjects wanted).

    Raises:
        TrainingError: If the folder holds another cache.
    """
    folder = Path(folder)
    marker = folder / "cache.json"
    wanted = {**asdict(config), "subjects": None}
    if marker.exists() and json.loads(marker.read_text(encoding="utf-8")) != wanted:
        raise TrainingError(
            f"A cache folder must be new or hold the same kind of subjects; {folder} was made with other settings. "
            "Choose another folder, or delete this one."
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(marker, wanted)
    parts = range(-(-config.subjects // config.part))
    missing = [part for part in parts if not _part(folder, part).exists()]
    made = spread(partial(_make_part, folder, config), missing, workers=workers)
    for done, _ in enumerate(made, start=len(parts) - len(missing) + 1):
        if progress is not None:
            progress(done * config.part, config.subjects)
    return folder


def _part(folder: Path, part: int) -> Path:
    return folder / f"part-{part:05d}.npy"


def _make_part(folder: Path, config: CacheConfig, part: int) -> None:
    """Make one part and write it under its final name when complete."""
    fine, coarse = zip(*(make_subject(config, part * config.part + n) for n in range(config.part)), strict=True)
    final = _part(folder, part)
    for name, stacks in (("coarse", coarse), ("slices", [[len(stack)] for stack in fine]), ("fine", fine)):
        with replacing(final if name == "fine" else final.with_suffix(f".{name}.npy")) as beside:
            np.save(beside, np.concatenate(stacks))


class TissueCache:
    """Read access to the first subjects of a cache (all where None), memory-mapped."""

    def __init__(self, folder: Path | str, subjects: int | None = None) -> None:
        folder = Path(folder)
        self.config = CacheConfig(**json.loads((folder / "cache.json").read_text(encoding="utf-8")))
        parts = sorted(path for path in folder.glob("part-?????.npy"))
        self._stacks: dict[str, list[np.ndarray]] = {"fine": [], "coarse": []}
        self._where: list[tuple[int, int, int]] = []
        for path in parts[: None if subjects is None else -(-subjects // self.config.part)]:
            first = 0
            for slices in np.load(path.with_suffix(".slices.npy")):
                self._where.append((len(self._stacks["fine"]), first, first + int(slices)))
                first += int(slices)
            self._stacks["fine"].append(np.load(path, mmap_mode="r"))
            self._stacks["coarse"].append(np.load(path.with_suffix(".coarse.npy"), mmap_mode="r"))
        self._where = self._where[:subjects]

    def __len__(self) -> int:
        return len(self._where)

    def spacing_mm(self, scale: str) -> float:
        """Return the pixel size of the ``"fine"`` or ``"coarse"`` stacks."""
        return self.config.fine_mm if scale == "fine" else self.config.coarse_mm

    def slices(self, subject: int) -> int:
        """Return how many slices a subject's stacks have."""
        _, first, last = self._where[subject]
        return last - first

    def stack(self, scale: str, subject: int) -> np.ndarray:
        """Return the tissues (D, S, H, W) uint8 of a subject."""
        part, first, last = self._where[subject]
        return self._stacks[scale][part][first:last]
