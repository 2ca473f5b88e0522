"""What an EF read from the ECG lets expect of a plane's contraction: a straight line through the training subjects."""

import numpy as np
import torch
from COFGeneratorLib.ecgflowcmr.contraction import Contraction, fractional_area_change
from COFGeneratorLib.ecgflowcmr.model import Amdf
from COFGeneratorLib.ecgflowcmr.plane_segmenter import PlaneSegmenter
from COFGeneratorLib.ecgflowcmr.transformer import RATE_SCALARS

from COFTrainingLib.training.ecgflowcmr.train_amdf import ClipLatents
from COFTrainingLib.training.ecgflowcmr.windows import whole, with_cycles

MOST, LEAST = 120, 20


@torch.no_grad()
def fit_contraction(amdf: Amdf, segmenter: PlaneSegmenter | None, data: ClipLatents) -> Contraction | None:
    """Fit the line on real cines of the flow's subjects, by the segmenter that will judge generated ones.

    Returns:
        The line; None without a segmenter, without a head that reads EF, or with fewer than ``LEAST`` subjects.
    """
    head = amdf.pa_mae.phenotype
    if segmenter is None or head is None or "ef" not in head.names:
        return None
    owners = data.examples.owner[torch.from_numpy(data.beats.index)].numpy()
    _, first = np.unique(owners, return_index=True)
    chosen = first[:MOST]
    if len(chosen) < LEAST:
        return None
    read, seen = [], []
    device = next(amdf.parameters()).device
    for at in chosen:
        index = data.beats.index[at]
        batch = with_cycles(whole(data.examples, [index]), [data.beats.cycles[at].bounds], torch.empty(1, 0), ())
        parts = (batch[name].to(device) for name in ("signal", "bounds", "real"))
        scalars = amdf.condition(*parts)[1]
        read.append(float(head.in_units(scalars[:, RATE_SCALARS:])["ef"][0]))
        clip = data.examples.cines()[data.examples.owner[index]][None].float() / 255.0
        seen.append(float(fractional_area_change(segmenter.segment(clip)[1][..., 0])[0][0]))
    slope, offset = np.polyfit(read, seen, 1)
    residual = np.array(seen) - offset - slope * np.array(read)
    return Contraction(float(offset), float(slope), float(residual.std(ddof=2)))
