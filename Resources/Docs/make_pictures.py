"""Makes the pictures of README and documentation from the product, and keeps them small.

    python Resources/Docs/make_pictures.py [--work out/pictures] [--only-shrink]

Runs the demo; photographs both panels in each of their states, light and dark, and the page of the result at the width
of a phone and of a desktop; draws a whole window, the panel beside the result in Slicer's views: large ones, into
``--work``. Then it shrinks what the documents show into ``Resources/Screenshots`` and takes away what they no longer
show. A picture that is committed stays in the history for ever: look at them before, and commit them rarely.
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
PANEL_COLOURS = (16, 6, 24)
PANEL_HEIGHT_PX = 900
"""Of a panel, what is seen of it without scrolling."""
PANELS = (
    *(f"COFGenerator-{state}" for state in ("empty", "ready", "running", "done", "done-dark", "failed", "compare")),
    *(f"COFTraining-{state}" for state in ("ready", "running", "done")),
)
PHOTOGRAPHS = {"window": 1200, "viewer-desktop": 1000, "viewer-phone-dark": 360, "viewer-frames": 800}
"""Pictures with too many greys for a palette → their width, pixels; they become WebP."""
SHEET, SHEET_WIDTH_PX = "preview-sheet", 1000
FILM, FILM_WIDTH_PX = "preview", 448
PHOTOGRAPH_QUALITY, FILM_QUALITY = 30, 25
DESCRIPTION = 0x010E
"""EXIF's field of what a picture is."""


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
    shrink_film(demo / "preview.gif", SHOWN / f"{FILM}.webp")
    photograph(demo / "preview.png", SHOWN / f"{SHEET}.webp", SHEET_WIDTH_PX)
    for name in PANELS:
        shrink(large / f"{name}.png", SHOWN / f"{name}.png", PANEL_COLOURS)
    for name, width_px in PHOTOGRAPHS.items():
        if (large / f"{name}.png").is_file():  # of the page there are none where no Chromium is
            photograph(large / f"{name}.png", SHOWN / f"{name}.webp", width_px)
    named = {
        f"{FILM}.webp",
        f"{SHEET}.webp",
        *(f"{name}.png" for name in PANELS),
        *(f"{name}.webp" for name in PHOTOGRAPHS),
    }
    for path in SHOWN.iterdir():
        if path.name not in named:
            path.unlink()
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
        [str(host / "screenshots.py"), "--out", str(large), "--result", str(demo)],
        [str(host / "screenshots.py"), "--out", str(large), "--result", str(demo), "--dark"],
        [str(host / "render_result.py"), str(demo), "--out", str(large)],
        [str(ROOT / "Testing" / "figures" / "photograph_page.py"), str(demo), "--out", str(large)],
    ):
        subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, check=True)


def shrink(source: Path, target: Path, colours: Palette) -> None:
    """Write the upper part of a panel with a palette, at its own width, so that small print stays readable."""
    panel = Image.open(source).convert("RGB")
    picture = panel.crop((0, 0, panel.width, min(panel.height, PANEL_HEIGHT_PX)))
    picture.quantize(256, palette=palette_of(picture, colours), dither=Image.Dither.NONE).save(target, optimize=True)


def photograph(source: Path, target: Path, width_px: int) -> None:
    """Write a picture as WebP, not wider than some pixels."""
    picture = Image.open(source).convert("RGB")
    resized(picture, min(width_px, picture.width)).save(target, "WEBP", quality=PHOTOGRAPH_QUALITY, method=6)


def shrink_film(source: Path, target: Path) -> None:
    """Write a film of all frames and their times as WebP, with fewer pixels and its mark as description."""
    film = Image.open(source)
    frames, durations_ms = [], []
    for frame in ImageSequence.Iterator(film):
        frames.append(resized(frame.convert("RGB"), FILM_WIDTH_PX))
        durations_ms.append(frame.info["duration"])  # of this frame: the next one overwrites it
    facts = Image.Exif()
    facts[DESCRIPTION] = film.info["comment"].decode()
    frames[0].save(
        target, "WEBP", save_all=True, append_images=frames[1:], duration=durations_ms, loop=0, quality=FILM_QUALITY,
        method=4, minimize_size=True, exif=facts,
    )  # fmt: skip


def resized(picture: Image.Image, width_px: int) -> Image.Image:
    """Return a picture of a width."""
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
