"""The pictures of the documents: taken by scripts that are there, and small without losing what they show."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
RED = (230, 40, 60)


@pytest.fixture(scope="module")
def pictures():
    """The script that makes them."""
    spec = importlib.util.spec_from_file_location("cof_pictures", ROOT / "Resources" / "Docs" / "make_pictures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def noisy(seed: int) -> Image.Image:
    """Return grey noise with a thin red line."""
    levels = np.random.default_rng(seed).integers(0, 256, (120, 160, 1), dtype=np.uint8)
    image = np.repeat(levels, 3, axis=2)
    image[60:62] = RED
    return Image.fromarray(image)


def test_a_thin_line_keeps_its_colour_among_many_greys(pictures, tmp_path):
    noisy(0).save(tmp_path / "large.png")
    pictures.shrink(tmp_path / "large.png", tmp_path / "small.png", (16, 4, 8))
    small = Image.open(tmp_path / "small.png")
    assert small.size == (160, 120)
    shown = np.asarray(small.convert("RGB")).astype(int)
    assert np.abs(shown[60:62] - RED).max() <= 4
    assert np.abs(shown[:60] - np.asarray(noisy(0))[:60].astype(int)).max() <= 12
    assert (tmp_path / "small.png").stat().st_size < (tmp_path / "large.png").stat().st_size


def test_a_picture_without_colours_is_shrunk_too(pictures, tmp_path):
    Image.new("RGB", (40, 30), (128, 128, 128)).save(tmp_path / "large.png")
    pictures.shrink(tmp_path / "large.png", tmp_path / "small.png", (16, 4, 8))
    assert np.asarray(Image.open(tmp_path / "small.png").convert("RGB")).std() == 0


def test_of_a_long_panel_that_is_shown_which_is_seen_without_scrolling(pictures, tmp_path):
    noisy(0).resize((420, 2000)).save(tmp_path / "large.png")
    pictures.shrink(tmp_path / "large.png", tmp_path / "small.png", (16, 4, 8))
    assert Image.open(tmp_path / "small.png").size == (420, pictures.PANEL_HEIGHT_PX)


def test_a_film_keeps_its_frames_times_and_mark(pictures, tmp_path):
    first, *others = [noisy(seed).quantize() for seed in range(5)]
    times = [40, 50, 40, 60, 40]
    first.save(
        tmp_path / "large.gif", save_all=True, append_images=others, duration=times, loop=0, comment=b"SYNTHETIC"
    )
    pictures.shrink_film(tmp_path / "large.gif", tmp_path / "small.webp")
    film = Image.open(tmp_path / "small.webp")
    assert (film.n_frames, film.width) == (5, pictures.FILM_WIDTH_PX)
    assert film.getexif()[pictures.DESCRIPTION] == "SYNTHETIC"
    kept = []
    for frame in range(5):
        film.seek(frame)
        film.load()
        kept.append(film.info["duration"])
    assert kept == times


def test_the_large_ones_are_taken_by_scripts_that_know_their_options(pictures, monkeypatch, tmp_path):
    ran = []
    monkeypatch.setattr(pictures.subprocess, "run", lambda words, **_: ran.append(words[1:]))
    pictures.take(tmp_path / "demo", tmp_path / "large")
    assert ran[0][:3] == ["-m", "COFGeneratorLib", "demo"]
    for script, *words in ran[1:]:
        assert all(f'"{word}"' in Path(script).read_text("utf-8") for word in words if word.startswith("--"))


def test_a_photograph_becomes_small_and_keeps_its_shape(pictures, tmp_path):
    noisy(0).resize((1600, 1200)).save(tmp_path / "large.png")
    pictures.photograph(tmp_path / "large.png", tmp_path / "small.webp", 400)
    assert Image.open(tmp_path / "small.webp").size == (400, 300)
    assert (tmp_path / "small.webp").stat().st_size < 0.2 * (tmp_path / "large.png").stat().st_size
    noisy(0).save(tmp_path / "narrow.png")
    pictures.photograph(tmp_path / "narrow.png", tmp_path / "narrow.webp", 400)
    assert Image.open(tmp_path / "narrow.webp").size == (160, 120)


def test_what_is_shown_is_what_is_made(pictures):
    """Photographs are taken where a browser is; what lies there is named in a document, and the other way round."""
    made = {f"{name}.png" for name in pictures.PANELS} | {
        f"{pictures.FILM}.webp",
        f"{pictures.SHEET}.webp",
        "window.webp",
    }
    shown = {path.name for path in pictures.SHOWN.iterdir()}
    photographs = {f"{name}.webp" for name in pictures.PHOTOGRAPHS}
    assert made <= shown <= made | photographs
    texts = [*ROOT.glob("*.md"), ROOT / "CMakeLists.txt", *(ROOT / "Resources" / "Docs").glob("*.md")]
    text = "\n".join(path.read_text("utf-8") for path in texts)
    assert shown == set(re.findall(r"Screenshots/([\w.-]+\.(?:png|gif|webp))", text))
