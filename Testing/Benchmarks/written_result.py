"""What was written to disk, read back with another library: is it the anchor's geometry, and frame 0 the anchor?"""

import tempfile
from pathlib import Path

import numpy as np
from COFGeneratorLib.generator import generate
from COFGeneratorLib.generator.bundle import Bundle
from COFTrainingLib.phantom.cases import PhantomCase

FRAMES = 6


def written_result(bundle: Bundle, case: PhantomCase) -> dict[str, float]:
    """Generate, write ``cine.seq.nrrd`` and read it back with SimpleITK.

    Returns:
        ``geometry_error_mm``: largest distance of a corner voxel from the anchor's; ``frame0_is_anchor``: 1 if frame 0
        equals the anchor to the file's precision.
    """
    import SimpleITK as sitk
    from COFGeneratorLib.scene import write_scene

    cine = generate(case.anchor, case.record, bundle, labels=case.labels, cycle=case.cycle, frames=FRAMES)
    with tempfile.TemporaryDirectory() as folder:
        write_scene(cine, Path(folder))
        image = sitk.ReadImage(str(Path(folder) / "cine.seq.nrrd"))
        frames = sitk.GetArrayFromImage(image)
    first = frames[..., 0] if image.GetNumberOfComponentsPerPixel() > 1 else frames[0]
    found = sitk.Image([int(n) for n in first.shape[::-1]], sitk.sitkUInt8)
    found.SetSpacing(image.GetSpacing()[:3])
    found.SetOrigin(image.GetOrigin()[:3])
    direction = np.array(image.GetDirection()).reshape(image.GetDimension(), -1)[:3, :3]
    found.SetDirection(direction.ravel().tolist())
    depth, height, width = first.shape
    error = 0.0
    for corner in (
        (0, 0, 0),
        (width - 1, 0, 0),
        (0, height - 1, 0),
        (0, 0, depth - 1),
        (width - 1, height - 1, depth - 1),
    ):
        ours = np.array(found.TransformIndexToPhysicalPoint(corner)) * (-1, -1, 1)  # LPS → RAS
        error = max(error, _nearest_corner(case, ours))
    values = np.sort(first.ravel()), np.sort(case.anchor.voxels.ravel())
    same = np.allclose(*values, atol=0.51)  # stored as integers at the most; a flipped slice order is the same image
    return {"geometry_error_mm": error, "frame0_is_anchor": float(same)}


def _nearest_corner(case: PhantomCase, point_ras: np.ndarray) -> float:
    """Return how far a point lies from the nearest voxel centre of the anchor, mm: storage may reverse axes."""
    ijk = np.linalg.inv(case.anchor.ijk_to_ras) @ np.r_[point_ras, 1.0]
    nearest = np.clip(np.round(ijk[:3]), 0, np.array(case.anchor.shape[::-1]) - 1)
    return float(np.linalg.norm((case.anchor.ijk_to_ras @ np.r_[nearest, 1.0])[:3] - point_ras))
