"""How fast a training runs, how long it still takes, and roughly what it costs in energy."""

import os
import time
from typing import Any

import torch

CPU_WATTS_PER_CORE = 10.0
"""What a busy core of a server takes with its share of memory and cooling, a rough mean of public power figures. An
estimate made with it is good to a factor of two."""
JOULES_PER_WH = 3600.0


class Clock:
    """Throughput, share of time spent on waiting for batches, time to go, and an estimate of the energy.

    The energy is CPU time × ``CPU_WATTS_PER_CORE``, of this process and the workers it has ended, plus, on an NVIDIA
    GPU that tells its draw, the draw integrated over time between reports. Times of validation and checkpoints are not
    in the throughput; they are in the energy.
    """

    def __init__(self, first: int, steps: int, device: torch.device) -> None:
        self.first, self.steps, self.device = first, steps, device
        self.done, self.samples, self.load_s, self.total_s = 0, 0, 0.0, 0.0
        self._cpu_s, self._looked, self._gpu_joules = _cpu_seconds(), time.perf_counter(), 0.0

    def start(self) -> None:
        self._start = time.perf_counter()

    def loaded(self) -> None:
        self.load_s += time.perf_counter() - self._start

    def stepped(self, samples: int) -> None:
        self.total_s += time.perf_counter() - self._start
        self.done += 1
        self.samples += samples

    def report(self) -> dict[str, Any]:
        per_step = self.total_s / self.done
        return {
            "samples_per_s": self.samples / self.total_s,
            "data_share": self.load_s / self.total_s,
            "eta_s": per_step * (self.steps - self.first - self.done),
            **self._energy(),
        }

    def _energy(self) -> dict[str, Any]:
        now, watts = time.perf_counter(), _gpu_watts(self.device)
        self._gpu_joules += (watts or 0.0) * (now - self._looked)
        self._looked = now
        joules = (_cpu_seconds() - self._cpu_s) * CPU_WATTS_PER_CORE + self._gpu_joules
        method = f"CPU time × {CPU_WATTS_PER_CORE:g} W"
        if self.device.type == "cuda":
            method += " + GPU draw" if watts is not None else "; GPU draw unknown"
        return {"energy_wh": joules / JOULES_PER_WH, "energy_method": method}


def _cpu_seconds() -> float:
    return sum(os.times()[:4])


def _gpu_watts(device: torch.device) -> float | None:
    """Return the draw of an NVIDIA GPU, W, or None where nobody tells it (it needs nvidia-ml-py)."""
    if device.type != "cuda":
        return None
    try:
        return torch.cuda.power_draw(device) / 1000.0
    except Exception:  # no NVML, or a GPU that does not say
        return None
