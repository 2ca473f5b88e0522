"""Random structure in space: smooth noise and scattered blobs, the same wherever and however densely sampled."""

import numpy as np
from scipy.ndimage import map_coordinates


class NoiseField:
    """Smooth noise of about unit variance over all of space (value noise on a wrapped lattice).

    Args:
        rng: Source of randomness.
        cell_mm: Correlation length, one number or one an axis.
        size: Lattice points along each axis before the noise repeats.
    """

    def __init__(self, rng: np.random.Generator, cell_mm: float | tuple[float, float, float], size: int = 24) -> None:
        self._lattice = rng.standard_normal((size,) * 3).astype(np.float32)
        self._cell_mm = np.broadcast_to(np.asarray(cell_mm, dtype=np.float32), (3,))

    def __call__(self, points_mm: np.ndarray) -> np.ndarray:
        """Return the noise at points (n, 3), (n,) float32."""
        coordinates = (points_mm / self._cell_mm).T
        return map_coordinates(self._lattice, coordinates, order=1, mode="grid-wrap") * np.float32(1.6)


class Blobs:
    """Scattered ellipsoids, at most one in each cell of a lattice: vessels, bowel loops, lobules.

    Args:
        rng: Source of randomness.
        cell_mm: Edge of a cell.
        radius_mm: Smallest and largest radius; small ones are the more frequent.
        filled: Share of the cells that hold a blob.
        elongation: Largest ratio of the long to the short half-axis.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        cell_mm: float,
        radius_mm: tuple[float, float],
        filled: float,
        elongation: float = 2.5,
    ) -> None:
        shape, (low, high) = (12, 12, 12), radius_mm
        self._cell_mm = cell_mm
        radius = low + (high - low) * rng.random(shape) ** 2.5
        radius[rng.random(shape) > filled] = 0.0
        direction = rng.standard_normal((*shape, 3))
        direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
        stretch = 1.0 - 1.0 / rng.uniform(1.0, elongation, shape) ** 2
        room = np.clip(0.5 - radius / cell_mm, 0.05, 0.5)[..., None]
        centre = (0.5 + room * rng.uniform(-1, 1, (*shape, 3))) * cell_mm
        table = np.concatenate([centre, direction, stretch[..., None], radius[..., None]], axis=-1)
        self._table = table.astype(np.float32)

    def __call__(self, points_mm: np.ndarray) -> np.ndarray:
        """Return whether points (n, 3) lie in a blob, (n,) bool."""
        scaled = points_mm / np.float32(self._cell_mm)
        cell = np.floor(scaled).astype(np.int64)
        k, j, i = (cell % 12).T
        row = self._table[k, j, i]
        offset = points_mm - cell * np.float32(self._cell_mm) - row[:, :3]
        along = (offset * row[:, 3:6]).sum(axis=1)
        return (offset**2).sum(axis=1) - row[:, 6] * along**2 < row[:, 7] ** 2
