"""Makes the pictures of README and documentation from the product, and keeps them small.

    python Resources/Docs/make_pictures.py [--work out/pictures] [--only-shrink]

Runs the demo; photographs both panels in each of their states, light and dark, and the page of the result at the width
of a phone and of a desktop; draws the result in Slicer's views, and a whole window of both (large, into ``--work``).
Then it shrinks what the documents show into ``Resources/Screenshots``. A picture that is committed stays in the history
for ever: look at them before, and commit them rarely.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageSequence

ROOT = Path(__file__).resolve().parents[2]
SHOWN = ROOT / "Resources" / "Screenshots"
GREY, TINT = 5, 32
"""Up to these differences of its channels a pixel is grey, or tinted; from there on it is coloured."""
Palette = tuple[int, int, int]
"""Numbers of greys, tints and colours: apart, so that a few thin lines keep their colour beside large images."""
FILM_WIDTH_PX, SHEET_WIDTH_PX = 512, 1000
FILM_COLOURS, SHEET_COLOURS, PANEL_COLOURS = (16, 6, 24), (20, 8, 28), (32, 16, 48)
PANELS = (
    *(f"COFGenerator-{state}" for state in ("empty", "ready", "running", "done", "failed")),
    *(f"COFTraining-{state}" for state in ("ready", "running", "done")),
)
VIEWS = {"result-slices": (24, 6, 24), "result-3d": (6, 16, 96)}
PHOTOGRAPHS = {"window": 1400, "COFGenerator-compare": 420, "viewer-desktop": 1100, "viewer-phone": 320}
"""Pictures with too many greys for a palette → their width, pixels; they become WebP."""
WEBP_QUALITY = 60


def main() -> int:
    """Make the pictures and say what they weigh."""
    parser = argparse.ArgumentParser(description="Make the pictures of the documentation.")
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "pictures", help="where the large ones go")
    parser.add_argument("--only-shrink", action="store_true", help="the large ones are there already")
    arguments = parser.parse_args()
    demo, large = arguments.work.resolve() / "demo", arguments.work.resolve() / "large"
    if not arguments.only_shrink:
        take(demo, large)
    SHOWN.mkdir(exist_ok=True)
    shrink_film(demo / "preview.gif", SHOWN / "preview.gif")
    shrink(demo / "preview.png", SHOWN / "preview.png", SHEET_COLOURS, SHEET_WIDTH_PX)
    for name in PANELS:
        shrink(large / f"{name}.png", SHOWN / f"{name}.png", PANEL_COLOURS)
    for name, colours in VIEWS.items():
        shrink(large / f"{name}.png", SHOWN / f"{name}.png", colours)
    for name, width_px in PHOTOGRAPHS.items():
        if (large / f"{name}.png").is_file():  # of the page there are none where no Chromium is
            photograph(large / f"{name}.png", SHOWN / f"{name}.webp", width_px)
    sizes = {path.name: path.stat().st_size for path in sorted(SHOWN.iterdir())}
    for name, size in {**sizes, "in all": sum(sizes.values())}.items():
        sys.stdout.write(f"{size / 1000:7.1f} kB  {name}\n")
    return 0


def take(demo: Path, large: Path) -> None:
    """Run the demo, and make large pictures of its result and of the panels."""
    host = ROOT / "Testing" / "slicer_host"
    paths = os.pathsep.join(str(ROOT / floor) for floor in ("COFGenerator", "COFTraining"))
    environment = {**os.environ, "PYTHONPATH": paths, "MPLBACKEND": "Agg"}
    for words in (
        ["-m", "COFGeneratorLib", "demo", "--out", str(demo), "--overwrite"],
        [str(host / "screenshots.py"), "--out", str(large)],
        [str(host / "screenshots.py"), "--out", str(large), "--dark"],
        [str(host / "render_result.py"), str(demo), "--out", str(large)],
        [str(ROOT / "Testing" / "figures" / "photograph_page.py"), str(demo), "--out", str(large)],
    ):
        subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, check=True)


def shrink(source: Path, target: Path, colours: Palette | None = None, width_px: int = 0) -> None:
    """Write a picture with a palette.

    Args:
        source: The large one.
        target: The small one.
        colours: Its palette; the 256 that suit it best where None.
        width_px: Its width; its own, so that small print stays readable, where 0.
    """
    picture = resized(Image.open(source).convert("RGB"), width_px)
    palette = palette_of(picture, colours) if colours else None
    picture.quantize(256, palette=palette, dither=Image.Dither.NONE).save(target, optimize=True)


def photograph(source: Path, target: Path, width_px: int) -> None:
    """Write a picture as WebP, not wider than some pixels."""
    picture = Image.open(source).convert("RGB")
    resized(picture, min(width_px, picture.width)).save(target, "WEBP", quality=WEBP_QUALITY, method=6)


def shrink_film(source: Path, target: Path) -> None:
    """Write a film of all frames and their times with fewer pixels and colours."""
    film = Image.open(source)
    frames, durations_ms = [], []
    for frame in ImageSequence.Iterator(film):
        frames.append(resized(frame.convert("RGB"), FILM_WIDTH_PX))
        durations_ms.append(frame.info["duration"])  # of this frame: the next one overwrites it
    some = [np.asarray(picture) for picture in frames[:: max(1, len(frames) // 4)]]
    palette = palette_of(Image.fromarray(np.concatenate(some)), FILM_COLOURS)
    first, *others = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in frames]
    first.save(
        target, save_all=True, append_images=others, duration=durations_ms, loop=0, optimize=True,
        comment=film.info["comment"],
    )  # fmt: skip


def resized(picture: Image.Image, width_px: int) -> Image.Image:
    """Return a picture of a width; itself where that is 0."""
    if not width_px:
        return picture
    height_px = round(picture.height * width_px / picture.width)
    return picture.resize((width_px, height_px), Image.Resampling.LANCZOS)


def palette_of(picture: Image.Image, colours: Palette) -> Image.Image:
    """Return a palette of even greys and of a picture's tints and colours, as Pillow's ``quantize`` takes it."""
    greys, *others = colours
    pixels = np.asarray(picture).reshape(-1, 3)
    spread = np.ptp(pixels.astype(int), axis=1)
    entries = [level for level in np.linspace(0, 255, greys).round().astype(int).tolist() for _ in "rgb"]
    for part, count in zip((pixels[(spread > GREY) & (spread <= TINT)], pixels[spread > TINT]), others, strict=True):
        if len(part):
            entries += Image.fromarray(part[np.newaxis]).quantize(count).getpalette()[: 3 * count]
    palette = Image.new("P", (1, 1))
    palette.putpalette(entries)
    return palette


if __name__ == "__main__":
    sys.exit(main())
