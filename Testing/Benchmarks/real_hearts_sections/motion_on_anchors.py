"""Generated motion on real anchors: is it the heart that beats, how strongly, and does the ECG change it?

Labels are the given ones. No MRI here belongs to the person of any ECG: the ECGs are synthetic (normal, inferior
infarct, left bundle branch block), so EF is a matter of plausibility, not of truth.
"""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.ecg.beats import analyse_ecg
from COFGeneratorLib.function.volumes import WALL_GROWTH
from COFGeneratorLib.generator import generate, load_bundle
from COFTrainingLib.phantom.electrocardiogram import synthesise_ecg
from COFTrainingLib.phantom.physiology import draw_physiology
from scipy.ndimage import distance_transform_edt, rotate

_spec = importlib.util.spec_from_file_location("real_hearts_common", Path(__file__).with_name("_common.py"))
_common = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_common)

NAME = "generation"
BARS = {
    "normal_ef_percent": [40.0, 70.0],
    "drop_points": 10.0,
    "rv_ef_percent": [30.0, 70.0],
    "es_share": [0.28, 0.50],
    "mass_change_percent": 8.0,
    "energy_near_heart_percent": 90.0,
    "changed_anchor_ef_points": 4.0,
}
DILATED_EDV_ML = 240.0
"""Above this a heart is not a normal one, and a normal ECG need not give it a normal EF."""
REACH_MM = 15.0
FRAMES = 24
PLAIN = {
    "sex": "m",
    "hr_bpm": 66.0,
    "conduction": "",
    "qrsd_ms": 95.0,
    "contractility": 0.0,
    "atrial_fibrillation": False,
}
HEARTS = {
    "normal": {**PLAIN, "infarct_territory": "", "infarct_extent": 0.0},
    "infarct": {**PLAIN, "infarct_territory": "inferior", "infarct_extent": 0.3},
    "lbbb": {**PLAIN, "conduction": "lbbb", "qrsd_ms": 155.0, "infarct_extent": 0.0, "contractility": 0.6},
}


def ecgs(seed: int = 11) -> dict:
    """Return one synthetic recording for each of ``HEARTS``, with its analysis."""
    found = {}
    for name, facts in HEARTS.items():
        physiology = draw_physiology(np.random.default_rng(seed), **facts)
        record, _ = synthesise_ecg(physiology, np.random.default_rng(seed + 1))
        found[name] = (record, analyse_ecg(record))
    return found


def measure(cases, options):
    """Return the figures of every anchor under every ECG, and of changed anchors under the normal one."""
    bundle = load_bundle(options.model or _common.ROOT / "Resources" / "Models" / "cof-plus")
    recordings, rows, short = ecgs(), [], []
    for case in cases:
        stack, labels = _common.read_phase(case, "ed")
        own = {name: _beat(bundle, stack, labels, *ecg) for name, ecg in recordings.items()}
        normal = own["normal"]
        changed = {
            name: _beat(bundle, *pair, *recordings["normal"])["ef_percent"] - normal["ef_percent"]
            for name, pair in variants(stack, labels).items()
        }
        rows.append({"case": case["name"], "ecgs": own, "ef_change_points": changed})
        for name, figures in own.items():
            print(f"{case['name']:12s}{name:9s}", {key: round(value, 3) for key, value in figures.items()})
        print(f"{case['name']:12s}changed  ", {key: round(value, 2) for key, value in changed.items()})
        short += [f"{case['name']}: {text}" for text in _short(own, changed)]
        if options.figures:
            _sheet(bundle, stack, labels, recordings["normal"], options.figures / case["name"])
    return {"rows": rows}, short


def _beat(bundle, stack, labels, record, cycle) -> dict[str, float]:
    cine = generate(stack, record, bundle, labels=labels, cycle=cycle, frames=FRAMES)
    report = cine.function
    with np.errstate(invalid="ignore"):  # no mass where the case has no labelled wall
        mass = report.myocardial_mass_g / report.myocardial_mass_g[0]
        grown = 1.0 + np.mean(WALL_GROWTH) * (1.0 - report.lv_volume_ml / report.lv_volume_ml[0])
    heart = cine.labels[0] > 0  # with the right ventricle, which some labels given lack
    far = distance_transform_edt(~heart, sampling=stack.spacing_mm)
    energy = np.square(cine.displacement_mm(report.es_frame)).sum(axis=0)
    return {
        "edv_ml": report.edv_ml,
        "ef_percent": report.ef_percent,
        "rv_ef_percent": report.rv_ef_percent,
        "es_share": report.es_time_ms / report.rr_ms,
        "mass_change_percent": 100 * float(np.abs(mass - grown).max()),  # from what slices show of a wall
        "folded_percent": 100 * report.folded_fraction,
        "energy_near_heart_percent": 100 * float(energy[far <= REACH_MM].sum() / energy.sum()),
    }


def _short(own: dict, changed: dict) -> list[str]:
    normal, missed = own["normal"], []
    low, high = BARS["normal_ef_percent"]
    if normal["edv_ml"] < DILATED_EDV_ML and not low <= normal["ef_percent"] <= high:
        missed.append(f"EF under a normal ECG is {normal['ef_percent']:.1f} %")
    for name in own.keys() - {"normal"}:
        drop = normal["ef_percent"] - own[name]["ef_percent"]
        if drop < BARS["drop_points"]:
            missed.append(f"the ECG of {name} lowers EF by {drop:.1f} points only")
    lowest, highest = BARS["rv_ef_percent"]
    for name, figures in own.items():
        if figures["rv_ef_percent"] < lowest or figures["rv_ef_percent"] > highest:  # NaN, no RV labelled, passes
            missed.append(f"RV EF is {figures['rv_ef_percent']:.1f} % ({name})")
        if figures["mass_change_percent"] > BARS["mass_change_percent"]:
            missed.append(f"mass changes by {figures['mass_change_percent']:.1f} % ({name})")
        if figures["energy_near_heart_percent"] < BARS["energy_near_heart_percent"]:
            missed.append(f"{figures['energy_near_heart_percent']:.0f} % of the motion lies near the heart ({name})")
    low, high = BARS["es_share"]
    if not low <= normal["es_share"] <= high:
        missed.append(f"ES lies at {normal['es_share']:.2f} of the cycle")
    missed += [
        f"EF changes by {points:.1f} points when {name}"
        for name, points in changed.items()
        if abs(points) > BARS["changed_anchor_ef_points"]
    ]
    return missed


def variants(stack: SaxStack, labels: np.ndarray) -> dict:
    """Return the anchor turned by 30° and shifted by 20 mm in the picture, and stored in other orders."""
    turned = {
        "turned": [rotate(array, 30, axes=(1, 2), reshape=False, order=order, mode="constant") for array, order in
                   ((stack.voxels, 1), (labels, 0))],
    }  # fmt: skip
    pixels = round(20.0 / stack.spacing_mm[2])
    found = {name: (replace(stack, voxels=voxels), moved) for name, (voxels, moved) in turned.items()}
    if not (labels[:, :, -pixels:] > 0).any():
        shifted = [np.roll(array, pixels, axis=2) for array in (stack.voxels, labels)]
        found["shifted"] = (replace(stack, voxels=shifted[0]), shifted[1])
    for name, axis in (("slices reversed", 0), ("rows reversed", 1)):
        found[name] = (replace(stack, voxels=np.flip(stack.voxels, axis).copy()), np.flip(labels, axis).copy())
    return found


def _sheet(bundle, stack, labels, ecg, folder: Path) -> None:
    from COFGeneratorLib.figures.preview import write_preview

    folder.mkdir(parents=True, exist_ok=True)
    write_preview(generate(stack, ecg[0], bundle, labels=labels, cycle=ecg[1], frames=30), folder)
