"""What each training of the panel is for, in words, and what it takes."""

from typing import Any

from slicer.i18n import tr as _

STAGES = {
    "flow": "How a heart of this anatomy moves under this ECG: the model itself. An ECG encoder is trained first where "
    "none is chosen below. Its run becomes a bundle.",
    "ecg": "Listens: beats become the numbers that the flow is told. Trained on synthetic ECGs; flow does it by itself "
    "where no run of it is chosen.",
    "teacher": "Follows recorded cines from frame to frame; flow learns from its motion on recorded cohorts. Phantoms "
    "need none: their motion is known.",
    "segmenter": "Finds and labels the heart in an anchor that comes without labels. Trained on phantoms.",
    "assessor": "Judges cines in an evaluation, as a second opinion beside the segmenter. No part of a bundle.",
    "ecgflowcmr": "The engine without an anchor: a cine of one plane from the ECG alone, in four stages: ECG encoder "
    "with phase (pa-mae), video autoencoder (vae), segmenter of read-outs, and the flow (amdf).",
}
"""Kind of ``cof train`` → words; the first is what the panel opens on."""
PLANE = "ecgflowcmr"
"""The kind that has stages and configurations of its own."""

_TAKEN = {
    "flow": ("ecgRunLabel", "ecgRunPathEdit"),
    PLANE: ("planeStageLabel", "planeStageSelector", "planeConfigurationLabel", "planeConfigurationSelector"),
}
_NOT_BY_PLANE = (
    "configurationLabel", "configurationSelector", "stepsLabel", "stepsSpinBox", "rateLabel", "rateSpinBox",
)  # fmt: skip


def show_stage(ui: Any, stage: str) -> None:
    """Say what a training is for, and show the fields that it takes; ``stage`` is empty while there is no scene."""
    ui.stageHelpLabel.text = _(STAGES.get(stage, ""))
    for kind, names in _TAKEN.items():
        for name in names:
            getattr(ui, name).visible = stage == kind
    for name in _NOT_BY_PLANE:
        getattr(ui, name).visible = stage != PLANE
