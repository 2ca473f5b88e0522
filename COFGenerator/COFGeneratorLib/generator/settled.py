"""The motion on the anchor's grid, after what is known for certain has been settled: ejection and the wall's volume."""

import torch

from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.function import volume_curves
from COFGeneratorLib.generator.conditioned import Conditioned
from COFGeneratorLib.generator.ejection import ejection_factor
from COFGeneratorLib.generator.incompressible import keep_wall_volume
from COFGeneratorLib.generator.model import MotionModel
from COFGeneratorLib.generator.native import native_motion
from COFGeneratorLib.generator.networks.grid import label_fractions
from COFGeneratorLib.motion.volume_gradient import relative_volumes


def settled(
    model: MotionModel,
    velocity: torch.Tensor,
    ready: Conditioned,
    anchor: SaxStack,
    wanted_ef: float | None,
    keep_wall: bool = True,
) -> torch.Tensor:
    """Return velocities under which the LV ejects what the ECG states and the myocardium keeps its volume.

    Velocities are (T, 3, D, H, W), voxels of the motion grid. Both are measured once on the anchor's own grid, and
    followed from there on the motion grid. ``wanted_ef`` 0…1; None leaves it. Keeping the wall changes neither cavity.
    """
    if wanted_ef is None and not keep_wall:
        return velocity
    coarse = native_motion(model, velocity, ready, anchor, model.grid.phases)
    curves = volume_curves(coarse.warp_all(label_fractions(ready.labels)), anchor.ijk_to_ras)
    velocity, wall = velocity.cpu().float(), curves.myocardium_ml / max(curves.myocardium_ml[0], 1e-9)
    if wanted_ef is not None:
        scaled = velocity * ejection_factor(velocity, ready.fine_maps, curves.lv_ml, wanted_ef)
        if keep_wall:
            change = relative_volumes(scaled, ready.fine_maps) - relative_volumes(velocity, ready.fine_maps)
            wall = wall + change[:, 1].double().numpy()
        velocity = scaled
    if not keep_wall or not curves.myocardium_ml[0] > 0:
        return velocity
    return keep_wall_volume(velocity, ready.fine_maps, wall)
