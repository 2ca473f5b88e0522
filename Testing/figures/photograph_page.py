"""Pictures of a result's page in a headless Chromium: at two widths, light and dark, and eight of its frames.

    python Testing/figures/photograph_page.py RESULT_FOLDER --out out/pictures/large

Where there is no Chromium, nothing is made and that is said; ``COF_CHROMIUM`` names one.
"""

import argparse
import io
import os
import shutil
import sys
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ("--no-sandbox", "--disable-background-networking", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
SIZES = {"viewer-desktop": (1280, 900), "viewer-phone": (390, 844)}
"""Name of a picture → width and height of the window, pixels."""
FRAMES, SHEET_COLUMNS = 8, 4
PATIENCE_MS = 300_000
"""A busy machine draws surfaces without a graphics card slowly."""


def main() -> int:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description="Photograph the page of a result.")
    parser.add_argument("result", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "pictures" / "large")
    arguments = parser.parse_args()
    names = ("chromium", "chromium-browser", "google-chrome")
    path = os.environ.get("COF_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        sys.stdout.write("no pictures of the page: playwright is not installed\n")
        return 0
    with sync_playwright() as player:
        try:
            browser = player.chromium.launch(executable_path=path, args=list(FLAGS))
        except Error as error:
            sys.stdout.write(f"no pictures of the page: no Chromium starts here ({str(error).splitlines()[0]})\n")
            return 0
        arguments.out.mkdir(parents=True, exist_ok=True)
        address = (arguments.result / "viewer.html").resolve().as_uri()
        for name, (width, height) in SIZES.items():
            for scheme in ("light", "dark"):
                page = opened(browser, address, width, height, scheme)
                page.screenshot(path=arguments.out / f"{name}{'-dark' * (scheme == 'dark')}.png")
                page.context.close()
        page = opened(browser, address, *SIZES["viewer-desktop"], "light")
        sheet(page).save(arguments.out / "viewer-frames.png")
        browser.close()
    return 0


def opened(browser, address: str, width: int, height: int, scheme: str):
    """Return the page, still, at end-systole of its first beat."""
    options = {"viewport": {"width": width, "height": height}, "color_scheme": scheme, "reduced_motion": "reduce"}
    page = browser.new_context(**options).new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(address)
    page.wait_for_selector("body[data-ready=yes]")
    return page


def sheet(page) -> Image.Image:
    """Return eight frames of the short axis, evenly over the beat, as the running page shows them."""
    count = page.evaluate("JSON.parse(document.getElementById('facts').textContent).time_ms.length")
    pictures, shown = [], 0
    for wanted in (round(place * count / FRAMES) for place in range(FRAMES)):
        for _ in range(wanted - shown):
            page.keyboard.press("ArrowRight")
        shown = wanted
        pictures.append(Image.open(io.BytesIO(page.locator("#short").screenshot())).convert("RGB"))
    width, height = pictures[0].size
    whole = Image.new("RGB", (SHEET_COLUMNS * width, FRAMES // SHEET_COLUMNS * height))
    for place, picture in enumerate(pictures):
        whole.paste(picture, (place % SHEET_COLUMNS * width, place // SHEET_COLUMNS * height))
    return whole


if __name__ == "__main__":
    sys.exit(main())
