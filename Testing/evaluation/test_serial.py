"""Serial use: the earlier heart's labels deformed onto today's, and a report of arms of which one may be missing."""

import numpy as np
import pytest
from COFTrainingLib.evaluation.plan import Plan
from COFTrainingLib.evaluation.protocols import serial
from COFTrainingLib.evaluation.store import Store


def test_labels_follow_a_pull_in_mm_in_every_frame():
    labels = np.zeros((2, 3, 8, 9), dtype=np.uint8)
    labels[0, :, 2:5, 3:6], labels[1, :, 3, 4] = 1, 3
    field = np.zeros((3, 3, 8, 9))
    field[1], field[2] = 2.0, -4.0  # one row on, two columns back, at 2 mm
    moved = serial.deformed(labels, field, np.array([8.0, 2.0, 2.0]))
    expected = np.roll(labels, (-1, 2), axis=(2, 3))
    np.testing.assert_array_equal(moved[:, :, 1:6, 2:8], expected[:, :, 1:6, 2:8])
    np.testing.assert_array_equal(serial.deformed(labels, 0.0 * field, np.array([8.0, 2.0, 2.0])), labels)


def test_without_a_teacher_nothing_is_deformed():
    assert serial.deformation(None, None, np.eye(4), "") is None


@pytest.mark.parametrize("deformed", [True, False])
def test_the_report_has_the_arms_that_were_made(tmp_path, deformed):
    store = Store(tmp_path / "store")
    arms = [arm for arm in serial.ARMS if deformed or arm != serial.DEFORMED]
    for n in range(5):
        rows = {arm: dict.fromkeys(serial.COLUMNS, 0.5 + 0.1 * place + 0.01 * n) for place, arm in enumerate(arms)}
        store.add({"subject": f"s{n}", "method": "m", "kind": serial.KIND, "identity": "", "arms": rows,
                   "registration": {}})  # fmt: skip
    plan = Plan(None, tuple(f"s{n}" for n in range(5)), models=(("m", tmp_path),))
    section = serial.summarise(plan, store)
    table = section.tables[0]
    assert [row[0] for row in table.rows] == arms
    wins = [row for row in section.tables[1].rows if row[1] == "LV Dice"]
    assert [row[2] for row in wins] == ["5 / 5"] * (1 + deformed)
