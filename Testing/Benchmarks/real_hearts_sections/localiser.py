"""Where the heart is found when a stack is turned, flipped or mirrored, and what is refused."""

import importlib.util
from pathlib import Path

import numpy as np
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.errors import AnatomyError
from scipy import ndimage

_spec = importlib.util.spec_from_file_location("real_hearts_common", Path(__file__).with_name("_common.py"))
_common = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_common)

NAME = "localiser"
BARS = {"centre_mm": 15.0, "heartless_refused": True}


def measure(cases, options):
    """Return the distance of the found centre from the labels' under every change, and what was wrongly accepted."""
    segmenter = _common.load_segmenter(options)
    rows, short = [], []
    for case in cases:
        stack, truth = _common.read_phase(case, "ed")
        for name, (changed, centre) in variants(stack, truth).items():
            try:
                off = float(np.linalg.norm(segmenter.segment(changed).frame.origin_ras - centre))
            except AnatomyError as error:
                off = float("inf")
                print(f"{case['name']} {name}: {str(error)[:120]}")
            rows.append({"case": case["name"], "change": name, "centre_error_mm": round(off, 1)})
            if not off <= BARS["centre_mm"]:
                short.append(f"{case['name']} {name}: centre off by {off:.1f} mm")
        own = [row for row in rows if row["case"] == case["name"]]
        print(f"{case['name']:12s}", {row["change"]: row["centre_error_mm"] for row in own})
    refused = {}
    for name, stack in heartless(cases).items():
        try:
            found = segmenter.segment(stack)
            refused[name] = False
            short.append(f"{name} was taken for a heart (confidence {found.confidence:.2f})")
        except AnatomyError:
            refused[name] = True
    print("heartless stacks refused:", refused)
    return {"rows": rows, "refused": refused}, short


def variants(stack: SaxStack, truth: np.ndarray) -> dict:
    """Return changed stacks with the true LV centre, RAS mm."""
    k, j, i = np.nonzero(truth == 1)
    index = np.array([i.mean(), j.mean(), k.mean(), 1.0])
    centre = (stack.ijk_to_ras @ index)[:3]
    width = stack.shape[2]
    out = {"as it is": (stack, centre)}

    def flipped(axis, name):
        matrix, column = stack.ijk_to_ras.copy(), 2 - axis
        matrix[:3, 3] += matrix[:3, column] * (stack.shape[axis] - 1)
        matrix[:3, column] *= -1
        out[name] = (SaxStack(np.flip(stack.voxels, axis), matrix), centre)

    flipped(0, "slices flipped")
    flipped(1, "rows flipped")
    for angle in (37.0, 90.0, 160.0, 250.0):
        voxels, turned = turn(stack.voxels, index, angle)
        out[f"turned {angle:.0f}°"] = (SaxStack(voxels, stack.ijk_to_ras), (stack.ijk_to_ras @ turned)[:3])
    shift = np.round(np.array([20.0, 20.0]) / stack.spacing_mm[1:]).astype(int)
    moved = np.roll(stack.voxels, shift, axis=(1, 2))
    moved[:, : shift[0]] = 0
    moved[:, :, : shift[1]] = 0
    out["moved 20 mm"] = (
        SaxStack(moved, stack.ijk_to_ras),
        (stack.ijk_to_ras @ (index + np.array([shift[1], shift[0], 0, 0])))[:3],
    )
    lost = np.diag([*stack.spacing_mm[::-1], 1.0])
    mirrored = index * [-1, 1, 1, 1] + [width - 1, 0, 0, 0]
    out["header lost, mirrored"] = (SaxStack(stack.voxels[:, :, ::-1], lost), (lost @ mirrored)[:3])
    return out


def turn(voxels: np.ndarray, index: np.ndarray, angle_deg: float):
    """Turn the picture in the plane about its middle; return it and where ``index`` (i, j, k, 1) goes."""
    angle = np.deg2rad(angle_deg)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])  # output → input, (j, i)
    middle = (np.array(voxels.shape[1:]) - 1) / 2
    offset = middle - matrix @ middle
    turned = np.stack([ndimage.affine_transform(plane, matrix, offset, order=1) for plane in voxels])
    j, i = matrix.T @ (np.array([index[1], index[0]]) - middle) + middle
    return turned, np.array([i, j, index[2], 1.0])


def heartless(cases) -> dict:
    """Return stacks without a heart in view."""
    rng = np.random.default_rng(0)
    geometry = np.diag([1.6, 1.6, 10.0, 1.0])
    noise = rng.rayleigh(1.0, (10, 160, 160))
    smooth = ndimage.gaussian_filter(rng.normal(size=(10, 160, 160)), (1, 6, 6))
    y, x = np.mgrid[-80:80, -80:80]
    bottle = np.where(np.hypot(x, y) < 45, 1.0, 0.02) * np.ones((10, 1, 1)) + 0.02 * noise
    out = {
        "noise": SaxStack(noise, geometry),
        "smooth noise": SaxStack(smooth - smooth.min(), geometry),
        "bottle": SaxStack(bottle, geometry),
        "empty": SaxStack(np.zeros((10, 160, 160)), geometry),
    }
    for case in cases:
        stack, truth = _common.read_phase(case, "ed")
        columns = np.flatnonzero(ndimage.binary_dilation((truth > 0).any(axis=0), iterations=12).any(axis=0))
        right = stack.voxels[:, :, columns.max() + 1 :]
        left = stack.voxels[:, :, : columns.min()]
        beside = right if right.shape[2] >= left.shape[2] else left
        if beside.shape[2] * stack.spacing_mm[2] >= 90.0:  # enough of the body to look like a stack of its own
            out[f"beside {case['name']}"] = SaxStack(beside, stack.ijk_to_ras)
    return out
