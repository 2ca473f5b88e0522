"""From noise (τ = 1) to data (τ = 0) with the velocity network; or, of COF v1, over the beat itself."""

import math
from collections.abc import Callable
from typing import TypeVar

import torch

from COFGeneratorLib.errors import BundleError

SOLVERS = ("euler", "heun", "exponential")
SMALLEST_TAU = 1e-3
LARGEST_ANGLE = 0.995 * math.pi / 2
"""Where the diffusion's cosine schedule ends: pure noise would carry no trace of the data to predict from."""
RATE_SCALE = 6.0
"""Units of the pack per beat of a predicted rate of 1: systole takes about a sixth of a beat to its half."""

Predict = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Carry = Callable[[torch.Tensor, float, float], torch.Tensor]
"""``(x, τ, τ′) → x at τ′``: the exact solution of a flow's equation from one time to another."""
Progress = Callable[[int, int], None]
"""Called with (steps done, steps)."""
Tau = TypeVar("Tau", torch.Tensor, float)


def integrate(
    predict: Predict,
    start: torch.Tensor,
    steps: int,
    solver: str = "euler",
    prediction: str = "x0",
    progress: Progress | None = None,
    carry: Carry | None = None,
) -> torch.Tensor:
    """Return the sample at τ = 0 of dx/dτ = v(x, τ), from ``start`` at τ = 1 (COF v2, eq. 10).

    Args:
        predict: ``(x (B, …), τ (B,)) → prediction`` of x0 or of v = x1 − x0.
        start: (B, …) the sample at τ = 1: Gaussian noise for a draw, zeros for the central estimate.
        steps: Number of equal steps; ``euler`` takes one evaluation a step, ``heun`` two but for the last.
        solver: One of ``SOLVERS``; ``exponential`` is for a flow whose path is known in closed form (``carry``).
        prediction: ``"x0"`` (then v = (x − x̂0)/τ, and the last Euler step lands on x̂0), ``"v"``, ``"noise"`` (then the
            steps are those of DDIM on the cosine schedule, Song 2021) or ``"rate"`` (then start, solver and steps do
            not matter: the motion is summed up over the beat, phase by phase, from none at the R wave).
        progress: Called with (steps done, steps).
        carry: Follows the flow exactly, for ``exponential``.

    Raises:
        BundleError: If the solver, the prediction or the number of steps is not known.
    """
    if solver not in SOLVERS or steps < 1 or prediction not in ("x0", "v", "noise", "rate"):
        raise BundleError(
            f"A sampler needs a solver of {SOLVERS}, at least one step and a prediction of x0, v, noise or rate; found "
            f"{solver!r}, {steps}, {prediction!r}. Leave --solver and --steps out for the model's own."
        )

    if solver == "exponential" and carry is None:
        raise BundleError(
            "The solver exponential is for a flow whose path is known in closed form; this model's is not. Use euler "
            "or heun."
        )
    if prediction == "rate":
        return _over_the_beat(predict, torch.zeros_like(start), progress)
    if prediction == "noise":
        return _denoise(predict, start, steps, progress)

    def velocity(x: torch.Tensor, tau: float) -> torch.Tensor:
        value = predict(x, torch.full((len(x),), tau, device=x.device))
        return value if prediction == "v" else (x - value) / max(tau, SMALLEST_TAU)

    x, width = start, 1.0 / steps
    for step in range(steps):
        tau = 1.0 - step * width
        if carry is not None and solver == "exponential":
            x = carry(x, tau, max(tau - width, 0.0))
        else:
            slope = velocity(x, tau)
            moved = x - width * slope
            if solver == "heun" and step + 1 < steps:
                moved = x - 0.5 * width * (slope + velocity(moved, tau - width))
            x = moved
        if progress:
            progress(step + 1, steps)
    return x


def diffusion_scales(tau: Tau) -> tuple[Tau, Tau]:
    """Return (share of the data, share of the noise) of x_τ on the cosine schedule (Nichol & Dhariwal 2021)."""
    angle = tau * LARGEST_ANGLE
    return (
        (torch.cos(angle), torch.sin(angle)) if isinstance(angle, torch.Tensor) else (math.cos(angle), math.sin(angle))
    )


def _denoise(predict: Predict, x: torch.Tensor, steps: int, progress: Progress | None) -> torch.Tensor:
    """Return the sample of a network that predicts the noise, by deterministic DDIM steps."""
    for step in range(steps):
        data, noise = diffusion_scales(1.0 - step / steps)
        predicted = predict(x, torch.full((len(x),), 1.0 - step / steps, device=x.device))
        clean = (x - noise * predicted) / data
        data, noise = diffusion_scales(1.0 - (step + 1) / steps)
        x = data * clean + noise * predicted
        if progress:
            progress(step + 1, steps)
    return x


def _over_the_beat(predict: Predict, x: torch.Tensor, progress: Progress | None) -> torch.Tensor:
    """Return the motion (B, T, …) whose rate a network predicts from the motion so far."""
    phases, still = x.shape[1], torch.zeros(len(x), device=x.device)
    for phase in range(phases - 1):
        rate = predict(x, still)[:, phase]
        x[:, phase + 1] = x[:, phase] + rate * RATE_SCALE / phases
        if progress:
            progress(phase + 1, phases - 1)
    return x
