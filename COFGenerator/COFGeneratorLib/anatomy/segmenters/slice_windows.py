"""Square windows cut in the plane of every slice, at a wanted spacing and orientation, and the way back.

Slices are kept as they are: between them nothing is interpolated.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional


@dataclass(frozen=True)
class SliceWindow:
    """A window of ``size`` pixels in each slice of a stack.

    Args:
        centre_ras: (3,) the window's middle; it is moved along the slice normal to each slice.
        row_ras, column_ras: (3,) unit vectors of growing row and column, orthogonal, both within the slices.
        size: (rows, columns).
        spacing_mm: Pixel size.
        backwards: Take the last slice first.
    """

    centre_ras: np.ndarray
    row_ras: np.ndarray
    column_ras: np.ndarray
    size: tuple[int, int]
    spacing_mm: float
    backwards: bool = False

    def _to_native(self, ijk_to_ras: np.ndarray, depth: int) -> np.ndarray:
        """Return (D, 2, 3): window (column, row, 1), pixels from its middle → native (i, j)."""
        plane = np.stack([self.column_ras, self.row_ras])  # (2, 3)
        matrix = np.linalg.inv(plane @ ijk_to_ras[:3, :2])  # mm within the slice → (i, j)
        order = np.arange(depth)[::-1] if self.backwards else np.arange(depth)
        origins = (ijk_to_ras[:3, 3] + order[:, None] * ijk_to_ras[:3, 2]) @ plane.T  # (D, 2)
        offset = (plane @ self.centre_ras - origins) @ matrix.T
        turn = np.broadcast_to(matrix * self.spacing_mm, (depth, 2, 2))
        return np.concatenate([turn, offset[:, :, None]], axis=2)

    def cut(
        self, voxels: np.ndarray, ijk_to_ras: np.ndarray, device: torch.device | str = "cpu"
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the window's image (D, h, w) float32 and where it lies within the stack (D, h, w) bool."""
        depth, height, width = voxels.shape
        native = self._to_native(ijk_to_ras, depth)
        order = slice(None, None, -1) if self.backwards else slice(None)
        image = torch.from_numpy(np.ascontiguousarray(voxels[order], dtype=np.float32)).to(device)
        step = np.linalg.norm(native[0, :, :2], axis=1).mean()  # native pixels a window pixel
        image = _smooth(image, 0.45 * np.sqrt(max(step**2 - 1.0, 0.0)))
        rows = torch.arange(self.size[0], device=device) - (self.size[0] - 1) / 2
        columns = torch.arange(self.size[1], device=device) - (self.size[1] - 1) / 2
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        points = torch.stack([x, y, torch.ones_like(x)], dim=-1)  # (h, w, 3)
        ij = torch.einsum("dac,hwc->dhwa", torch.as_tensor(native, dtype=torch.float32, device=device), points)
        grid = _unit(ij, width, height)
        inside = (grid.abs() <= 1.0).all(dim=-1)
        cut = functional.grid_sample(image[:, None], grid, padding_mode="border", align_corners=False)[:, 0]
        return torch.where(inside, cut, torch.zeros_like(cut)), inside

    def put_back(self, values: torch.Tensor, ijk_to_ras: np.ndarray, shape: tuple[int, int, int]) -> torch.Tensor:
        """Return window values (C, D, h, w) on the stack's own grid (C, D, H, W); 0 outside the window."""
        depth, height, width = shape
        native = torch.as_tensor(self._to_native(ijk_to_ras, depth))  # in 64 bits, as its inverse is
        back, start = (part.to(values.device, torch.float32) for part in (native[:, :, :2].inverse(), native[:, :, 2]))
        rows, columns = (torch.arange(n, device=values.device) for n in (height, width))
        j, i = torch.meshgrid(rows, columns, indexing="ij")
        points = torch.stack([i, j], dim=-1).float()  # (H, W, 2)
        columns_rows = torch.einsum("dab,dhwb->dhwa", back, points[None] - start[:, None, None])
        middle = columns_rows.new_tensor([(self.size[1] - 1) / 2, (self.size[0] - 1) / 2])
        grid = _unit(columns_rows + middle, self.size[1], self.size[0])
        out = functional.grid_sample(values.float().movedim(0, 1), grid, align_corners=False).movedim(1, 0)
        return out.flip(1) if self.backwards else out


def whole_view(
    shape: tuple[int, int, int], ijk_to_ras: np.ndarray, spacing_mm: float, multiple: int, limits: tuple[int, int]
) -> SliceWindow:
    """Return the window that covers the whole field of view.

    Args:
        shape: (D, H, W) of the stack.
        ijk_to_ras: (4, 4) its geometry.
        spacing_mm: Pixel size.
        multiple: Both sides are multiples of this.
        limits: Smallest and largest side, pixels. A network that normalises over the picture must see about as much
            emptiness around a small field of view as in training.
    """
    depth, height, width = shape
    centre = ijk_to_ras @ np.array([(width - 1) / 2, (height - 1) / 2, (depth - 1) / 2, 1.0])
    column = ijk_to_ras[:3, 0] / np.linalg.norm(ijk_to_ras[:3, 0])
    row = ijk_to_ras[:3, 1] - column * (column @ ijk_to_ras[:3, 1])
    extent = np.array([height, width]) * np.linalg.norm(ijk_to_ras[:3, [1, 0]], axis=0)
    size = np.clip(np.ceil(extent / spacing_mm / multiple) * multiple, *limits).astype(int)
    return SliceWindow(centre[:3], row / np.linalg.norm(row), column, (int(size[0]), int(size[1])), spacing_mm)


def _unit(pixels: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """Return pixel coordinates (…, (x, y)) in grid_sample's −1…1 with ``align_corners=False``."""
    return (2 * pixels + 1) / pixels.new_tensor([width, height]) - 1


def _smooth(image: torch.Tensor, sigma_pixels: float) -> torch.Tensor:
    """Blur slices before they are sampled more coarsely."""
    if sigma_pixels < 0.2:
        return image
    reach = int(np.ceil(3 * sigma_pixels))
    x = torch.arange(-reach, reach + 1, dtype=image.dtype, device=image.device)
    kernel = torch.exp(-(x**2) / (2 * sigma_pixels**2))
    kernel = kernel / kernel.sum()
    out = functional.pad(image[:, None], (reach,) * 4, mode="replicate")
    out = functional.conv2d(out, kernel[None, None, None, :])
    return functional.conv2d(out, kernel[None, None, :, None])[:, 0]
