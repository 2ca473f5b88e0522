"""The numbers of a run for TensorBoard, beside ``events.jsonl``; TensorBoard is optional."""

from pathlib import Path
from typing import Any

from COFGeneratorLib.errors import TrainingError

FOLDER = "tensorboard"
NOT_NUMBERS_OF_INTEREST = frozenset({"event", "step", "eta_s"})


class TensorBoardLog:
    """Writes every number of ``progress`` and ``metric`` events to ``RUN/tensorboard``.

    On resume, what was written of steps later than the checkpoint's (``first_step``) is hidden.

    Raises:
        TrainingError: If TensorBoard is not installed.
    """

    def __init__(self, run: Path, first_step: int = 0) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise TrainingError(
                "The loop's tensorboard is on; the package tensorboard is not installed. Install it "
                "(pip install tensorboard), or set tensorboard = false: events.jsonl has the same numbers."
            ) from error
        self._writer = SummaryWriter(run / FOLDER, purge_step=first_step + 1 if first_step else None, flush_secs=10)

    def write(self, event: str, facts: dict[str, Any]) -> None:
        """Write the numbers of one event; other events have none."""
        if event not in ("progress", "metric"):
            return
        group = "training" if event == "progress" else "validation"
        for name, value in facts.items():
            if isinstance(value, int | float) and name not in NOT_NUMBERS_OF_INTEREST:
                self._writer.add_scalar(f"{group}/{name}", value, facts["step"])

    def close(self) -> None:
        self._writer.close()
