"""Writes pictures of panels and views small: a palette of at most 256 colours, as tightly packed as PNG allows."""

from pathlib import Path

from PIL import Image


def write_small(picture, path: Path) -> int:
    """Write an RGB array (H, W, 3) uint8, or a pillow image, and return the size of the file in bytes."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    few = image.convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    path.parent.mkdir(parents=True, exist_ok=True)
    few.save(path, optimize=True)
    return path.stat().st_size
