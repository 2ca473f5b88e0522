"""Choices that belong to a machine, not to a scene: interpreter, device, model, folders.

They are kept in the application's settings. A scene is shared with others and must not hold paths of this computer.
"""

import qt

PREFIX = "ChainOfFlow/"

PYTHON = "python"
DEVICE = "device"
MODEL = "model"
MODEL_ECG_ALONE = "modelEcgAlone"
DEVICES_FOUND = "devicesFound"
RUNS = "runsFolder"
COHORT = "cohortFolder"
COMMAND_TEMPLATE = "commandTemplate"
TRAINING_DEVICE = "trainingDevice"
EVALUATION_DEVICE = "evaluationDevice"


def get(key: str, default: str = "") -> str:
    """Return a setting as text."""
    value = qt.QSettings().value(PREFIX + key, default)
    return default if value is None else str(value)


def put(key: str, value: str) -> None:
    """Keep a setting."""
    qt.QSettings().setValue(PREFIX + key, value)
