"""What a training tells a terminal or a watching window while it runs."""

from collections.abc import Callable
from typing import Any

from COFGeneratorLib.jobs.session import Session

TOLD_BESIDE = ("samples_per_s", "peak_memory_mb")
"""Numbers of a training loop that a watching window shows beside the curves."""


def listener(current: Session, stage: str, steps: int = 0) -> Callable[[dict[str, Any]], None]:
    """Return what passes a training loop's events on: to the watching program, and as lines to the terminal.

    ``steps`` counts where the events do not say it (``"of"``).
    """
    told = [-1]

    def hear(event: dict[str, Any]) -> None:
        step = int(event.get("step", 0))
        if event["event"] == "progress":
            total = int(event.get("of", 0)) or steps
            current.progress(min(step, total), total, stage)
            if "loss" in event:
                current.events.metric("loss", event["loss"], step)
                for name in TOLD_BESIDE:
                    if isinstance(event.get(name), int | float):
                        current.events.metric(name, event[name], step)
                tenth = 10 * step // total
                if tenth != told[0]:
                    told[0] = tenth
                    minutes = event["eta_s"] / 60
                    current.say(f"{stage}: step {step}   loss {event['loss']:.4f}   {minutes:.0f} min to go")
        elif event["event"] == "metric":
            for name, value in event.items():
                if isinstance(value, float):
                    current.events.metric(name, value, step)
            if "score" in event:
                current.say(f"{stage}: step {step}   validation {event['score']:.4f}")
        elif event["event"] == "artifact":
            current.tell_file(event["path"])
        elif event["event"] == "warning":
            if event["message"] not in current.warnings:
                current.say(f"{stage}: {event['message']}")  # now, and again at the end of a run of days
            current.warn(event["message"])

    return hear
