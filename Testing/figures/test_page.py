"""The page of a result: one file, closed to the outside, whose pictures and surfaces are those of the cine."""

import base64
import hashlib
import io
import json
import re
import zlib
from dataclasses import replace

import numpy as np
import pytest
from COFGeneratorLib.figures.page import write_page
from COFGeneratorLib.figures.page.grid import atlases, page_grid
from COFGeneratorLib.figures.page.surfaces import beating_surfaces
from COFGeneratorLib.figures.page.writing import MAX_BYTES
from PIL import Image


@pytest.fixture(scope="module")
def text(a_cine, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "viewer.html"
    assert write_page(a_cine, path) == []
    return path.read_text(encoding="utf-8")


def test_the_page_is_one_small_file_that_is_forbidden_to_load_anything(text):
    assert len(text.encode()) < MAX_BYTES
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text).group(1)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    for kind in ("style", "script"):
        body = re.search(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL).group(1)
        assert f"{kind}-src 'sha256-{base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()}'" in policy
    assert not re.search(r"""(?:src|href)=["'](?!data:,)""", text)


def test_the_mark_and_the_read_outs_stand_in_the_page_without_its_script(text, a_cine):
    plain = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert plain.count("SYNTHETIC") >= 3
    assert f"<b>{a_cine.function.ef_percent:.0f}</b>" in plain


def test_notes_are_text_and_never_markup(a_cine, tmp_path):
    path = tmp_path / "viewer.html"
    write_page(replace(a_cine, provenance={"warnings": ["<img src=x onerror=1>"]}), path)
    assert "&lt;img src=x" in path.read_text(encoding="utf-8")
    assert "<img" not in path.read_text(encoding="utf-8")


def test_images_and_labels_come_back_as_they_were(a_cine):
    grid = page_grid(a_cine)
    images, (low, high) = grid.images(a_cine)
    encoded, across = atlases(images, 84)
    sheet = np.asarray(Image.open(io.BytesIO(encoded[5])).convert("L")).astype(float)
    n, z = grid.size_px, 2
    tile = sheet[z // across * n : (z // across + 1) * n, z % across * n : (z % across + 1) * n]
    assert np.abs(tile - images[5, z]).mean() < 6  # of 255
    expected = grid.view.shown(a_cine.frames[5, grid.slices[z]], n)
    assert np.abs(low + images[5, z] / 255 * (high - low) - expected).mean() < 0.01 * (high - low)
    shown = grid.labels(a_cine.labels)
    for code in (1, 2, 3):
        area = (shown[0] == code).sum() * grid.pixel_mm**2
        assert area == pytest.approx((a_cine.labels[0][list(grid.slices)] == code).sum() * 1.6**2, rel=0.03)


def test_the_grid_knows_where_it_is_in_the_patient(a_cine):
    grid = page_grid(a_cine)
    z, y, x = (axis.mean() for axis in np.nonzero(grid.labels(a_cine.labels[:1])[0] == 1))
    k, j, i = (axis.mean() for axis in np.nonzero(a_cine.labels[0] == 1))
    assert (grid.to_ras @ [x, y, z, 1])[:3] == pytest.approx((a_cine.anchor.ijk_to_ras @ [i, j, k, 1])[:3], abs=0.8)


def test_the_surfaces_of_every_frame_enclose_that_frames_volume(a_cine):
    grid = page_grid(a_cine)
    surfaces = beating_surfaces(grid.labels(a_cine.labels), grid)
    at, volumes_ml = 0, np.zeros(surfaces.counts.shape[:2])
    for place in np.ndindex(volumes_ml.shape):
        points, triangles = surfaces.counts[place]
        raw = np.frombuffer(surfaces.data, "<u2", 3 * (points + triangles), at)
        at += raw.nbytes
        ras = surfaces.low_mm + raw[: 3 * points].reshape(-1, 3) / 65535 * (surfaces.high_mm - surfaces.low_mm)
        a, b, c = (ras[raw[3 * points :].reshape(-1, 3)[:, corner]] for corner in range(3))
        volumes_ml[place] = abs(np.einsum("ni,ni->n", a, np.cross(b, c)).sum()) / 6000
    assert at == len(surfaces.data)
    lv = np.asarray(a_cine.function.lv_volume_ml)
    assert volumes_ml[:, 0] == pytest.approx(lv, rel=0.15)
    assert np.corrcoef(volumes_ml[:, 0], lv)[0, 1] > 0.995


def test_a_cine_without_labels_has_a_page_without_outlines_surfaces_and_numbers(a_cine, tmp_path):
    path = tmp_path / "viewer.html"
    write_page(replace(a_cine, labels=None, labels_from="none", function=None), path)
    text = path.read_text(encoding="utf-8")
    assert "volumes were not measured" in text
    assert 'id="labels"' not in text
    assert "aha" not in text.lower().split("<script")[0]


def test_without_vtk_the_page_says_that_its_surfaces_are_missing(a_cine, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "vtkmodules.vtkFiltersCore", None)
    assert "vtk" in write_page(a_cine, tmp_path / "viewer.html")[0]


def test_labels_in_the_page_are_those_of_the_cine(text, a_cine):
    blob = re.search(r'id="labels">([^<]*)<', text).group(1)
    facts = json.loads(re.search(r'id="facts">([^<]*)<', text).group(1))
    labels = np.frombuffer(zlib.decompress(base64.b64decode(blob)), np.uint8)
    assert labels.size == len(a_cine.time_ms) * facts["depth"] * facts["size"] ** 2
    assert np.array_equal(labels.reshape(len(a_cine.time_ms), facts["depth"], facts["size"], facts["size"]),
                          page_grid(a_cine).labels(a_cine.labels))  # fmt: skip
