"""The model card of a bundle, written from nothing but its metadata and what was measured."""

from pathlib import Path
from typing import Any

from COFTrainingLib.training.publishing import card

TITLES = {
    "ef_mae_points": "EF, mean absolute error (points)",
    "ef_bias_points": "EF, bias (points)",
    "es_error_frames": "End-systole, error (frames of 50)",
    "es_argmin_error_frames": "End-systole by argmin, error (frames of 50)",
    "curve_rmse_ml": "LV volume curve, RMSE (mL)",
    "folded_percent": "Folded voxels (%)",
}


def write_card(
    metadata: dict[str, Any],
    commands: list[str],
    figures: dict[str, Any] | None,
    real_hearts: dict[str, Any] | None = None,
) -> str:
    """Return the card in Markdown: ``commands`` train the bundle again; figures may be None."""
    training, cof = metadata["training"], metadata["cof"]
    arms = (figures or {}).get("arms", {})
    return card(
        Path(__file__).with_name("card.md.j2"),
        metadata=metadata,
        training=training,
        motion=training.get("motion"),
        segmenter=metadata.get("segmenter"),
        teacher=metadata.get("teacher"),
        cof={"ef_z90": None, "ef_shift": 0.0, "statement": None} | cof,
        networks=[name for name in ("ecg", "flow", "segmenter", "teacher") if cof.get(name)],
        figures=figures,
        columns={name: title for name, title in TITLES.items() if any(name in row for row in arms.values())},
        real_hearts=real_hearts,
        commands=commands,
    )
