"""Loss and validation curves of a run as MRML tables and one chart, growing while the run goes on."""

from collections.abc import Mapping
from typing import Any

from COFGeneratorLib.scene import tables

COLOURS = ((0.12, 0.47, 0.71), (1.0, 0.5, 0.05), (0.17, 0.63, 0.17), (0.84, 0.15, 0.16), (0.58, 0.4, 0.74))


class RunCurves:
    """Collects the ``metric`` events of a job and draws them."""

    def __init__(self, name: str = "Training") -> None:
        self._name = name
        self.values: dict[str, tuple[list[float], list[float]]] = {}
        self._tables: dict[str, object] = {}
        self._chart = None

    @property
    def drawn(self) -> bool:
        """Whether the curves are in a scene already."""
        return self._chart is not None and self._chart.GetScene() is not None

    def add(self, event: Mapping[str, Any]) -> bool:
        """Take in one event; returns whether a curve has grown."""
        if event["event"] != "metric":
            return False
        steps, values = self.values.setdefault(str(event["name"]), ([], []))
        steps.append(float(event["step"]))
        values.append(float(event["value"]))
        return True

    def latest(self) -> dict[str, float]:
        """Return the last value of each curve."""
        return {name: values[-1] for name, (_, values) in self.values.items()}

    def draw(self, scene: Any) -> Any:
        """Bring tables and chart in a scene up to date; returns the chart, or None without values."""
        if not self.values:
            return None
        if not self.drawn or self._chart.GetScene() is not scene:
            self._chart = tables.new_chart(scene, f"{self._name} curves", self._name, "step")
            self._tables = {}
        for name, (steps, values) in self.values.items():
            if name not in self._tables:
                self._tables[name] = self._new_series(scene, name)
            table = self._tables[name]
            table.RemoveAllColumns()
            tables.add_number_column(table, "step", steps, "")
            tables.add_number_column(table, name, values, "")
        return self._chart

    def _new_series(self, scene: Any, name: str) -> Any:
        table = tables.new_table(scene, f"{self._name} {name}")
        colour = COLOURS[len(self._tables) % len(COLOURS)]
        tables.add_series(scene, self._chart, table, name, name, colour, x_column="step")
        return table
