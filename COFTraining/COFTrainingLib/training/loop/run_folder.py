"""The folder of a training run: its frozen configuration, its event log and its checkpoints.

``RUN/config.json`` what was asked for, ``RUN/events.jsonl`` what happened, ``RUN/checkpoints/step-00001200/`` weights
(safetensors) and optimiser state, ``RUN/model.safetensors`` the finished weights. Everything is written beside its
final name and renamed, so that a process killed at any moment leaves either the old state or the new one.
"""

import errno
import json
import logging
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from COFGeneratorLib.errors import TrainingError
from COFGeneratorLib.files import write_json
from COFGeneratorLib.machine import versions
from COFGeneratorLib.weights import save_exact
from safetensors import SafetensorError
from safetensors.torch import load_file

logger = logging.getLogger(__name__)

FREE_TO_DIFFER = frozenset({
    "device", "threads", "log_every", "checkpoint_every", "keep_last", "prefetch", "recompute", "tensorboard",
    "versions",
})  # fmt: skip
"""Settings that say where and how visibly a run computes, not what: a resumed run may change them."""


def open_run(out_dir: Path | str, config: dict[str, Any], resume: bool, defaults: dict[str, Any] | None = None) -> Path:
    """Create a run folder and freeze its configuration, or check that a resumed run continues the same one.

    ``defaults`` are what settings were before they existed, see ``config_diff``.

    Raises:
        TrainingError: If the folder already holds a run, or the configuration of a resumed run differs.
    """
    run = Path(out_dir)
    frozen = run / "config.json"
    config = json.loads(json.dumps({**config, "versions": versions()}, default=str))
    if frozen.exists():
        if not resume:
            raise TrainingError(
                f"A new run needs an empty folder; {run} already holds a run. Choose another folder or resume it."
            )
        before = json.loads(frozen.read_text(encoding="utf-8"))
        changed = config_diff(before, config, defaults)
        if changed:
            raise TrainingError(
                f"A resumed run must keep its configuration; in {run} these differ: {'; '.join(changed)}. "
                "Start a new run for the new settings, or give the old ones."
            )
        return run
    (run / "checkpoints").mkdir(parents=True, exist_ok=True)
    write_json(frozen, config)
    return run


def config_diff(
    before: dict[str, Any], after: dict[str, Any], defaults: dict[str, Any] | None = None, prefix: str = ""
) -> list[str]:
    """Return what differs between two configurations in what they compute, one ``key: before → after`` line each.

    Args:
        before: The frozen configuration.
        after: The one asked for.
        defaults: Nested like both. A setting that ``before`` does not know, because its run is older than the setting,
            had this value: whoever adds a setting gives it the default that changes nothing.
        prefix: Of the keys, for messages.
    """
    lines, defaults = [], defaults or {}
    for key in sorted((before.keys() | after.keys()) - FREE_TO_DIFFER):
        known = defaults.get(key)
        old, new = before.get(key, known), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            lines += config_diff(old, new, known if isinstance(known, dict) else None, f"{prefix}{key}.")
        elif old != new:
            lines.append(f"{prefix}{key}: {old} → {new}")
    return lines


def plain(settings: Any) -> Any:
    """Return settings as they read back from JSON: tuples as lists."""
    return json.loads(json.dumps(settings, default=str))


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on exactly: ``weights`` and ``ema`` by name, and the optimiser's ``state``."""

    step: int
    weights: dict[str, torch.Tensor]
    ema: dict[str, torch.Tensor]
    state: dict[str, Any]

    @property
    def nbytes(self) -> int:
        """Roughly what it takes on disk: weights, their average and two moments."""
        return 4 * sum(tensor.nbytes for tensor in self.weights.values())


class CheckpointRing:
    """The last few checkpoints of a run and the best one."""

    def __init__(self, run: Path, keep_last: int) -> None:
        self.folder = run / "checkpoints"
        self.keep_last = max(keep_last, 1)
        self.folder.mkdir(parents=True, exist_ok=True)

    def tidy(self) -> None:
        """Remove what a process left that was killed while it wrote."""
        for left_over in self.folder.glob(".step-*"):
            shutil.rmtree(left_over, ignore_errors=True)

    def steps(self) -> list[int]:
        """Return the steps of the complete checkpoints, oldest first."""
        return sorted(int(path.name.removeprefix("step-")) for path in self.folder.glob("step-*"))

    def best(self) -> dict[str, Any] | None:
        """Return ``{"step", "score"}`` of the best checkpoint, or None."""
        path = self.folder / "best.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def path(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}"

    def save(self, checkpoint: Checkpoint, score: float | None = None) -> Path:
        """Write a checkpoint, mark it best if its score (lower is better) is, and drop the oldest.

        Where the disk is full, older checkpoints make room once.

        Raises:
            OSError: If there is no room even so; the folder is then as it was, less the older checkpoints.
        """
        try:
            path = self._write(checkpoint)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or len(self.steps()) < 2:
                raise
            self._prune(keep=1)
            path = self._write(checkpoint)
        best = self.best()
        if score is not None and math.isfinite(score) and (best is None or score < best["score"]):
            write_json(self.folder / "best.json", {"step": checkpoint.step, "score": score})
        self._prune(self.keep_last)
        return path

    def _write(self, checkpoint: Checkpoint) -> Path:
        final = self.path(checkpoint.step)
        beside = final.with_name(f".{final.name}")
        shutil.rmtree(beside, ignore_errors=True)
        try:
            beside.mkdir()
            save_exact(checkpoint.weights, beside / "model.safetensors")
            save_exact(checkpoint.ema, beside / "ema.safetensors")
            torch.save(checkpoint.state, beside / "state.pt")
            shutil.rmtree(final, ignore_errors=True)
            beside.replace(final)
        except (RuntimeError, SafetensorError) as error:  # both hide the operating system's error number
            if "No space left" in str(error) or shutil.disk_usage(self.folder).free < checkpoint.nbytes:
                raise OSError(errno.ENOSPC, str(error)) from error
            raise
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        return final

    def _prune(self, keep: int) -> None:
        best = self.best()
        for step in self.steps()[:-keep]:
            if best is None or step != best["step"]:
                shutil.rmtree(self.path(step), ignore_errors=True)

    def load(self, step: int | None = None, device: torch.device | str = "cpu") -> Checkpoint | None:
        """Return a checkpoint (the newest by default), or None where there is none. Nothing is unpickled."""
        steps = self.steps()
        if step is None and not steps:
            return None
        step = steps[-1] if step is None else step
        path = self.path(step)
        return Checkpoint(
            step=step,
            weights=load_file(path / "model.safetensors", device=str(device)),
            ema=load_file(path / "ema.safetensors", device=str(device)),
            state=torch.load(path / "state.pt", map_location=device, weights_only=True),
        )
