"""Integrate the velocity network from noise (τ = 1) to data (τ = 0)."""

from collections.abc import Callable

import torch

from COFGeneratorLib.errors import BundleError

SOLVERS = ("euler", "heun")
SMALLEST_TAU = 1e-3

Predict = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def integrate(
    predict: Predict,
    start: torch.Tensor,
    steps: int,
    solver: str = "euler",
    prediction: str = "x0",
    progress: Callable[[int, int], None] | None = None,
) -> torch.Tensor:
    """Return the sample at τ = 0 of dx/dτ = v(x, τ), from ``start`` at τ = 1 (COF v2, eq. 10).

    Args:
        predict: ``(x (B, …), τ (B,)) → prediction`` of x0 or of v = x1 − x0.
        start: (B, …) the sample at τ = 1: Gaussian noise for a draw, zeros for the central estimate.
        steps: Number of equal steps; ``euler`` takes one evaluation a step, ``heun`` two but for the last.
        solver: One of ``SOLVERS``.
        prediction: ``"x0"`` (then v = (x − x̂0)/τ, and the last Euler step lands on x̂0) or ``"v"``.
        progress: Called with (steps done, steps).

    Raises:
        BundleError: If the solver, the prediction or the number of steps is not known.
    """
    if solver not in SOLVERS or steps < 1 or prediction not in ("x0", "v"):
        raise BundleError(
            f"A sampler needs a solver of {SOLVERS}, at least one step and a prediction of x0 or v; found "
            f"{solver!r}, {steps}, {prediction!r}. Leave --solver and --steps out for the model's own."
        )

    def velocity(x: torch.Tensor, tau: float) -> torch.Tensor:
        value = predict(x, torch.full((len(x),), tau, device=x.device))
        return value if prediction == "v" else (x - value) / max(tau, SMALLEST_TAU)

    x, width = start, 1.0 / steps
    for step in range(steps):
        tau = 1.0 - step * width
        slope = velocity(x, tau)
        moved = x - width * slope
        if solver == "heun" and step + 1 < steps:
            moved = x - 0.5 * width * (slope + velocity(moved, tau - width))
        x = moved
        if progress:
            progress(step + 1, steps)
    return x
