"""A heart as NIfTI 4D: ``cine.nii.gz`` and ``labels.nii.gz``."""

import json
from pathlib import Path

from COFGeneratorLib.anatomy.nifti_writer import write_nifti
from COFGeneratorLib.cine import SYNTHETIC_MARK
from COFGeneratorLib.export.heart import Heart


def write(heart: Heart, folder: Path) -> list[Path]:
    """Write cine and, where there are any, labels; the mark is the header's description, the facts an extension."""
    comment = json.dumps(heart.statement(), ensure_ascii=False)
    parts = {"cine.nii.gz": heart.frames, "labels.nii.gz": heart.labels}
    return [
        write_nifti(
            folder / name, part, heart.ijk_to_ras, heart.step_ms, description=f"{SYNTHETIC_MARK}, ChainOfFlow",
            comment=comment,
        )
        for name, part in parts.items() if part is not None
    ]  # fmt: skip
