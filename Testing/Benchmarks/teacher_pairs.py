"""Real pairs ED → ES: the registration teacher, alone and refined, beside diffeomorphic demons and no motion at all.

    python Testing/Benchmarks/teacher_pairs.py [--teacher FOLDER] [--cases FILE] [--refine 60] [--json OUT] [--tune]

The warped ED labels are compared with the ES labels on the native grid. No given label guides any registration: the
heart's frame, where the teacher looks, comes from the ED labels, as it comes from the segmenter in use. Refinement is
that of ``cof register``: the pair's own images, and what the segmenter sees in both (``--images-only``: without).

Exits with 1 where the refined teacher has a lower mean Dice than demons on any pair, an EF more than 4 points off, or
folds, or where the network alone is less than three times as fast as demons.
"""

import argparse
import itertools
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
for floor in ("COFGenerator", "COFTraining"):
    sys.path.insert(0, str(ROOT / floor))

from COFGeneratorLib.anatomy.heart_frame import heart_frame_from_labels  # noqa: E402
from COFGeneratorLib.anatomy.readers import read_sax  # noqa: E402
from COFGeneratorLib.anatomy.readers.labels import read_labels  # noqa: E402
from COFGeneratorLib.anatomy.segmenters.segmenter import Segmenter  # noqa: E402
from COFGeneratorLib.motion.fields import folded_fraction, warp  # noqa: E402
from COFGeneratorLib.registration.pipeline import find_teacher, seen_in  # noqa: E402
from COFGeneratorLib.registration.teacher import Refinement, RegistrationTeacher  # noqa: E402
from COFGeneratorLib.resources import default_bundle  # noqa: E402

STRUCTURES = {"lv": 1, "myo": 2, "rv": 3}
DEMONS = {"iterations": 60, "sigma": 1.5, "update_sigma": 0.0, "levels": (2, 1)}
"""Settings of the opponent; ``--tune`` searches the grid below for those with the best mean Dice over all pairs."""
DEMONS_GRID = {"iterations": (30, 60, 120), "sigma": (1.0, 1.5, 2.0, 3.0), "levels": ((1,), (2, 1), (4, 2, 1))}
ROI_MM = 15.0
LARGEST_EF_ERROR = 4.0


def load_pair(case: dict, root: Path) -> dict:
    """Return a pair: ED stack, ES voxels, labels of both, heart frame."""
    image, codes = root / case["image"], case["label_map"]
    anchor = read_sax(image, case["ed"].get("frame", 0))
    target = read_sax(image, case["es"]["frame"])
    ed = read_labels(root / case["ed"]["labels"], anchor, codes)
    es = read_labels(root / case["es"]["labels"], target, codes)
    return {
        "name": case["name"],
        "anchor": anchor,
        "target": target.voxels,
        "ed": ed,
        "es": es,
        "structures": [name for name in STRUCTURES if name in codes],
        "frame": heart_frame_from_labels(ed, anchor.ijk_to_ras),
    }


def warp_labels(pair: dict, displacement_mm: np.ndarray) -> np.ndarray:
    """Return the occupancies (4, D, H, W) of background and structures after a displacement on the native grid."""
    voxels = displacement_mm / pair["anchor"].spacing_mm.reshape(3, 1, 1, 1)
    one_hot = np.stack([pair["ed"] == code for code in range(4)]).astype(np.float32)
    return warp(torch.from_numpy(one_hot)[None], torch.as_tensor(voxels, dtype=torch.float32)[None])[0].numpy()


def measure(pair: dict, displacement_mm: np.ndarray) -> dict:
    """Return Dice of each structure, EF and its error (points), and folding near the heart (percent)."""
    occupancy = warp_labels(pair, displacement_mm)
    labels = occupancy.argmax(axis=0)
    figures = {}
    for name in pair["structures"]:
        one, other = labels == STRUCTURES[name], pair["es"] == STRUCTURES[name]
        figures[f"dice_{name}"] = 2.0 * (one & other).sum() / max(one.sum() + other.sum(), 1)
    figures["dice"] = float(np.mean([figures[f"dice_{name}"] for name in pair["structures"]]))
    edv = (pair["ed"] == 1).sum()
    figures["ef_percent"] = 100.0 * (1.0 - occupancy[1].sum() / edv)
    figures["ef_true_percent"] = 100.0 * (1.0 - (pair["es"] == 1).sum() / edv)
    figures["ef_error"] = figures["ef_percent"] - figures["ef_true_percent"]
    voxels = displacement_mm / pair["anchor"].spacing_mm.reshape(3, 1, 1, 1)
    field = torch.as_tensor(voxels, dtype=torch.float32)[None]
    figures["folded_percent"] = 100.0 * folded_fraction(field, torch.from_numpy(near_heart(pair)))
    return {name: float(value) for name, value in figures.items()}


def near_heart(pair: dict) -> np.ndarray:
    from scipy.ndimage import distance_transform_edt

    return distance_transform_edt(pair["ed"] == 0, sampling=pair["anchor"].spacing_mm) <= ROI_MM


def demons(pair: dict, iterations: int, sigma: float, update_sigma: float, levels) -> np.ndarray:
    """Return the displacement of SimpleITK's diffeomorphic demons, (3, D, H, W) mm along (k, j, i).

    Intensities are matched, the pyramid halves in-plane only, and the field is smoothed by ``sigma`` voxels.
    """
    import SimpleITK as sitk

    spacing = [float(value) for value in pair["anchor"].spacing_mm[::-1]]

    def image(voxels):
        out = sitk.GetImageFromArray(voxels.astype(np.float32))
        out.SetSpacing(spacing)
        return out

    fixed, moving = image(pair["target"]), image(pair["anchor"].voxels)
    matcher = sitk.HistogramMatchingImageFilter()
    matcher.SetNumberOfHistogramLevels(256)
    matcher.SetNumberOfMatchPoints(12)
    matcher.ThresholdAtMeanIntensityOn()
    moving = matcher.Execute(moving, fixed)
    field = None
    for level in levels:
        small_fixed, small_moving = (shrink(one, level) for one in (fixed, moving))
        demon = sitk.DiffeomorphicDemonsRegistrationFilter()
        demon.SetNumberOfIterations(iterations)
        demon.SetSmoothDisplacementField(True)
        demon.SetStandardDeviations([sigma, sigma, min(sigma, 1.0)])
        demon.SetSmoothUpdateField(update_sigma > 0)
        demon.SetUpdateFieldStandardDeviations(max(update_sigma, 0.1))
        if field is None:
            field = demon.Execute(small_fixed, small_moving)
        else:
            field = demon.Execute(small_fixed, small_moving, sitk.Resample(field, small_fixed))
    field = sitk.Resample(field, fixed)
    return np.moveaxis(sitk.GetArrayFromImage(field), -1, 0)[::-1].copy()


def shrink(image, level: int):
    import SimpleITK as sitk

    if level == 1:
        return image
    smooth = sitk.DiscreteGaussian(image, [(0.5 * level * s) ** 2 for s in image.GetSpacing()[:2]] + [0.0])
    return sitk.Shrink(smooth, [level, level, 1])


def timed(function, *arguments, repeats: int = 1):
    """Return the result and the shortest wall time, s."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = function(*arguments)
        times.append(time.perf_counter() - start)
    return result, min(times)


def run_pair(pair: dict, teacher: RegistrationTeacher, refine: int, segmenter, repeats: int = 3) -> dict[str, dict]:
    """Return the figures of every method on a pair."""

    def register(refinement):
        targets, seen = pair["target"][None], (None, None)
        if refinement is not None:
            seen = seen_in(segmenter, pair["anchor"], targets)
        registration = teacher.register(
            pair["anchor"], targets, pair["frame"],
            refinement=refinement, anchor_labels=seen[0], target_labels=seen[1],
        )  # fmt: skip
        return registration.displacement_on_stack(0)

    methods = {
        "identity": lambda: np.zeros((3, *pair["anchor"].shape), dtype=np.float32),
        "demons": lambda: demons(pair, **DEMONS),
        "network": lambda: register(None),
    }
    if refine:
        methods["network+refine"] = lambda: register(replace(Refinement(), steps=refine))
    rows = {}
    for name, method in methods.items():
        displacement, seconds = timed(method, repeats=1 if name == "network+refine" else repeats)
        rows[name] = {**measure(pair, displacement), "seconds": seconds}
    return rows


def tune(pairs: list[dict]) -> dict:
    """Return the demons' settings with the best mean Dice over all pairs."""
    best = None
    for values in itertools.product(*DEMONS_GRID.values()):
        settings = dict(zip(DEMONS_GRID, values, strict=True), update_sigma=0.0)
        dice = [measure(pair, demons(pair, **settings))["dice"] for pair in pairs]
        print(settings, [round(value, 3) for value in dice], round(float(np.mean(dice)), 4), flush=True)
        if best is None or np.mean(dice) > best[0]:
            best = (np.mean(dice), settings)
    return best[1]


def shortcomings(name: str, rows: dict[str, dict]) -> list[str]:
    """Return in words where a bar falls short."""
    refined, opponent = rows.get("network+refine", rows["network"]), rows["demons"]
    found = []
    if refined["dice"] < opponent["dice"]:
        found.append(f"{name}: Dice {refined['dice']:.3f} below demons' {opponent['dice']:.3f}")
    if abs(refined["ef_error"]) > LARGEST_EF_ERROR:
        found.append(f"{name}: EF {refined['ef_error']:+.1f} points off")
    if refined["folded_percent"] > 0:
        found.append(f"{name}: {refined['folded_percent']:.3f} % of the voxels near the heart fold")
    if rows["network"]["seconds"] * 3 > opponent["seconds"]:
        found.append(f"{name}: network {rows['network']['seconds']:.2f} s, demons {opponent['seconds']:.2f} s")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teacher", type=Path, help="folder with config.json and model.safetensors (default: shipped)")
    parser.add_argument("--segmenter", type=Path, help="segmenter folder (default: the shipped one)")
    parser.add_argument("--images-only", action="store_true", help="refine without what the segmenter sees")
    parser.add_argument("--cases", type=Path, default=ROOT.parent / "shared" / "data" / "real_cases.json")
    parser.add_argument("--refine", type=int, default=60, help="steps of instance optimisation; 0 for none")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--tune", action="store_true", help="search the demons' settings first")
    arguments = parser.parse_args()
    cases = [case for case in json.loads(arguments.cases.read_text()) if "es" in case]
    pairs = [load_pair(case, arguments.cases.parent) for case in cases]
    if arguments.tune:
        DEMONS.update(tune(pairs))
    segmenter = None if arguments.images_only else shipped_segmenter(arguments.segmenter)
    results, found = compare(pairs, shipped_teacher(arguments.teacher), arguments.refine, segmenter)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    for line in found:
        print("FALLS SHORT:", line)
    return 1 if found else 0


def shipped_teacher(folder: Path | None = None) -> RegistrationTeacher:
    """Return the teacher of a folder, or the shipped one."""
    folder = folder or find_teacher(default_bundle())
    if folder is None:
        raise SystemExit("No teacher ships; give one with --teacher.")
    return RegistrationTeacher.load(folder)


def shipped_segmenter(folder: Path | None = None) -> Segmenter:
    """Return the segmenter of a folder, or the shipped one."""
    return Segmenter.from_files(folder or default_bundle() / "models" / "segmenter")


def compare(pairs: list[dict], teacher: RegistrationTeacher, refine: int, segmenter) -> tuple[dict, list[str]]:
    """Run all methods on all pairs and print them; return the figures by pair and method, and what falls short."""
    results, found = {}, []
    print(f"{'pair':10} {'method':15}     LV    myo     RV   mean     EF   true  fold %      s")
    for pair in pairs:
        rows = results[pair["name"]] = run_pair(pair, teacher, refine, segmenter)
        for method, row in rows.items():
            dice = " ".join(f"{row.get(f'dice_{name}', float('nan')):6.3f}" for name in STRUCTURES)
            print(
                f"{pair['name']:10} {method:15} {dice} {row['dice']:6.3f} {row['ef_percent']:6.1f} "
                f"{row['ef_true_percent']:6.1f} {row['folded_percent']:7.3f} {row['seconds']:6.2f}"
            )
        found += shortcomings(pair["name"], rows)
    return results, found


if __name__ == "__main__":
    sys.exit(main())
