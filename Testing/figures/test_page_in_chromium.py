"""The page in a real browser: it beats, keys and pointers move it, nothing complains and nothing leaves."""

import io
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from COFGeneratorLib.figures.page import write_page
from PIL import Image

pytestmark = pytest.mark.slow

FLAGS = ("--no-sandbox", "--disable-background-networking", "--disable-component-update", "--no-first-run",
         "--use-angle=swiftshader", "--enable-unsafe-swiftshader")  # fmt: skip
PATIENCE_MS = 90_000


@pytest.fixture(scope="module")
def chromium():
    """Return a headless Chromium: that of ``COF_CHROMIUM``, of the system, or playwright's own."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = os.environ.get("COF_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    with api.sync_playwright() as player:
        try:
            browser = player.chromium.launch(executable_path=path, args=list(FLAGS))
        except api.Error as error:
            pytest.skip(
                f"no Chromium starts here ({str(error).splitlines()[0]}): apt install chromium, or playwright install"
            )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(a_cine, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "viewer.html"
    write_page(replace(a_cine, provenance={"seed": 3, "warnings": ["One note of the computation."]}), path)
    return path.as_uri()


class Watched:
    """An open page, and what it said and asked for."""

    def __init__(self, browser, address, own_clock=False, **options):
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        if own_clock:  # time passes as the test says, however busy the machine is
            self.page.clock.install(time=0)
        self.page.set_default_timeout(PATIENCE_MS)
        self.said, self.asked = [], []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)
        self.page.wait_for_selector("body[data-ready=yes]")

    def picture(self, name):
        return np.asarray(Image.open(io.BytesIO(self.page.locator(f"#{name}").screenshot())).convert("RGB")).astype(int)

    def until(self, true):
        """Wait until an expression holds; ``wait_for_function`` would need eval, which the page's policy forbids."""
        for _ in range(PATIENCE_MS // 50):
            if self.page.evaluate(true):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"{true} never held")

    def fact(self, name):
        return int(self.page.evaluate(f"document.body.dataset.{name}"))


@pytest.fixture
def still(chromium, address):
    watched = Watched(chromium, address, viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    yield watched
    assert watched.said == []
    assert watched.asked == [address]
    watched.context.close()


def differs(before, after):
    return (np.abs(before - after).max(axis=2) > 25).mean()


def test_it_beats_at_the_patients_rate(chromium, address, a_cine):
    watched = Watched(chromium, address, own_clock=True, viewport={"width": 800, "height": 700})
    watched.page.clock.pause_at(600_000)

    def after(beats):
        """Return at which share of the beat the page is that many beats later."""
        watched.page.clock.run_for(round(beats * a_cine.rr_ms))
        return float(watched.page.locator("#now").inner_text().partition(" ms")[0]) / a_cine.rr_ms

    picture = 40.0 / a_cine.rr_ms  # a picture or two late
    start = after(0.1)
    for beats, share in ((0.4, 0.4), (1.0, 0.4)):
        off = (after(beats) - start - share + 0.5) % 1.0 - 0.5
        assert abs(off) <= picture, beats
    assert watched.said == []
    assert watched.asked == [address]
    watched.context.close()


def test_keys_move_frames_and_slices_and_every_picture_follows(still):
    names = ("short", "long-x", "long-y", "solid", "curves")
    before = {name: still.picture(name) for name in names}
    for _ in range(8):  # to end-systole
        still.page.keyboard.press("ArrowRight")
    assert still.fact("frame") == 8
    after = {name: still.picture(name) for name in names}
    for name in names:
        assert differs(before[name], after[name]) > 0.002, name
    at = still.fact("slice")
    still.page.keyboard.press("ArrowDown")
    assert still.fact("slice") == at + 1
    assert differs(after["short"], still.picture("short")) > 0.01
    for _ in range(9):
        still.page.keyboard.press("ArrowLeft")
    assert still.fact("frame") == 19  # round the cycle


def test_space_plays_and_stops(still):
    still.page.keyboard.press(" ")
    still.until("document.body.dataset.frame > 3")
    still.page.keyboard.press(" ")
    at = still.fact("frame")
    still.page.wait_for_timeout(300)
    assert still.fact("frame") == at
    assert still.page.locator("#play").inner_text() == "Play"


def test_outlines_go_and_come_back(still):
    drawn = still.picture("short")
    still.page.keyboard.press("o")
    bare = still.picture("short")
    coloured = [(np.ptp(picture, axis=2) > 60).sum() for picture in (drawn[:-40], bare[:-40])]  # above the mark
    assert coloured[0] > 300
    assert coloured[1] < 0.05 * coloured[0]
    still.page.keyboard.press("o")
    assert differs(drawn, still.picture("short")) == 0


def test_a_drag_changes_the_grey_levels_and_r_brings_them_back(still):
    before, box = still.picture("short"), still.page.locator("#short").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    still.page.mouse.move(x, y)
    still.page.mouse.down()
    still.page.mouse.move(x - 60, y + 120, steps=4)
    still.page.mouse.up()
    assert still.picture("short").mean() < before.mean() - 10  # a higher level is darker
    still.page.keyboard.press("r")
    assert differs(before, still.picture("short")) < 1e-3  # but for where the pointer rests


def test_clicks_choose_where_the_planes_cut_and_drags_turn_the_surfaces(still):
    before = {name: still.picture(name) for name in ("long-y", "solid")}
    box = still.page.locator("#short").bounding_box()
    still.page.mouse.click(box["x"] + 0.3 * box["width"], box["y"] + 0.5 * box["height"])
    assert differs(before["long-y"], still.picture("long-y")) > 0.02
    box = still.page.locator("#long-y").bounding_box()
    still.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    box = still.page.locator("#solid").bounding_box()
    still.page.mouse.move(box["x"] + 60, box["y"] + 60)
    still.page.mouse.down()
    still.page.mouse.move(box["x"] + 160, box["y"] + 60, steps=4)
    still.page.mouse.up()
    assert differs(before["solid"], still.picture("solid")) > 0.01


def test_long_axis_outlines_slope_from_slice_to_slice(still):
    """Between two rows whose edges lie 4 pixels apart, the outline is where the straight line between them is."""
    crossings = still.page.evaluate("""() => {
        const width = 64, mask = new Float32Array(2 * width);
        for (const [row, half] of [[0, 20], [1, 16]])
            for (let x = 0; x < width; x++) mask[row * width + x] = Math.abs(x - 31.5) < half ? 1 : 0;
        const soft = between(mask, width, 2), rows = soft.length / width;
        return Array.from({ length: rows }, (_, row) => {
            for (let x = 32; x < width; x++) {
                const [a, b] = [soft[row * width + x - 1], soft[row * width + x]];
                if (b <= 0.5) return x - 1 - 31.5 + (a - 0.5) / (a - b);
            }
        });
    }""")
    assert len(crossings) > 4
    assert crossings == pytest.approx(np.linspace(20, 16, len(crossings)), abs=0.45)


def test_a_press_in_the_curves_goes_to_that_time(still, a_cine):
    box = still.page.locator("#curves").bounding_box()
    still.page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    assert still.fact("frame") == pytest.approx(0.47 * len(a_cine.time_ms), abs=1.5)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 420, 1440])
def test_nothing_runs_over_at_any_width_and_the_mark_stays_in_view(chromium, address, width, scheme):
    options = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme, "reduced_motion": "reduce"}
    watched = Watched(chromium, address, **options)
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= width
    watched.page.evaluate("scrollTo(0, document.body.scrollHeight)")
    mark = watched.page.locator("header .mark")
    assert mark.bounding_box()["y"] >= 0
    assert "SYNTHETIC" in mark.inner_text()
    assert watched.said == []
    watched.context.close()
