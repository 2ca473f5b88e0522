"""Mutated files: each is read or refused in words, in bounded time and memory, with no other error and no warning.

`COF_FUZZ=2500 pytest Testing/anatomy/test_fuzz.py` runs that many mutations a format; every one is named by its number,
so a find can be run again. Finds of earlier runs are kept below as files of their own.
"""

import contextlib
import gzip
import io
import os
import random
import time
import warnings
import zipfile

import numpy as np
import pytest
from COFGeneratorLib.anatomy import read_cine, read_sax
from COFGeneratorLib.errors import AnatomyError
from support.mutations import mutate_image

MUTATIONS = int(os.environ.get("COF_FUZZ", "80"))


def read_or_refuse(path, number: int) -> None:
    """Read in one of two ways; a clear refusal is as good."""
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with contextlib.suppress(AnatomyError):
            if number % 2:
                read_cine(path)
            else:
                read_sax(path, frame=number // 2 % 2)
    assert time.process_time() - start < 5


@pytest.fixture(scope="module")
def cine() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 900, (4, 5, 16, 18)).astype(np.int16)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd", "packed.nrrd", "a.mha", "packed.mha"])
def test_mutated_image_files(tmp_path, cine, oblique, write_image, name, capfd):
    packed = name.startswith("packed")
    seed = write_image(tmp_path / name, cine[0] if packed else cine, oblique, 40.0, compress=packed).read_bytes()
    for number in range(MUTATIONS):
        dice = random.Random(f"{name} {number}")
        if name.endswith(".gz") and dice.random() < 0.7:
            content = gzip.compress(mutate_image(gzip.decompress(seed), dice), 1)
        else:
            content = mutate_image(seed, dice)
        (tmp_path / name).write_bytes(content)
        read_or_refuse(tmp_path / name, number)
    assert capfd.readouterr().err == ""


def test_mutated_dicom_files_and_zips(tmp_path, cine, oblique, dicom_cine, save_dicom, capfd):
    datasets = dicom_cine(cine[:3, :4].astype(np.uint16), oblique)
    contents = []
    for dataset in datasets:
        buffer = io.BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        contents.append(buffer.getvalue())
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, content in enumerate(contents):
            archive.writestr(f"{number}.dcm", content)
    folder = tmp_path / "d"
    folder.mkdir()
    for number in range(MUTATIONS // 4):
        dice = random.Random(f"dicom {number}")
        (tmp_path / "a.zip").write_bytes(mutate_image(buffer.getvalue(), dice))
        read_or_refuse(tmp_path / "a.zip", number)
        for name, content in enumerate(contents):
            (folder / str(name)).write_bytes(mutate_image(content, dice) if dice.random() < 0.4 else content)
        read_or_refuse(folder, number)
    assert capfd.readouterr().err == ""


MHA = """ObjectType = Image
NDims = {n}
DimSize = {d}
ElementSpacing = 1 1 9
ElementType = MET_SHORT
ElementDataFile = LOCAL
"""


@pytest.mark.parametrize(
    ("n", "d"), [("inf", "9 9 9"), ("nan", "9 9 9"), ("99999999", "9 9 9"), ("-3", "9 9 9"), ("3", "9 inf 9"), ("", "")]
)
def test_finds_in_metaimage_headers(tmp_path, n, d):
    (tmp_path / "a.mha").write_bytes(MHA.format(n=n, d=d).encode() + bytes(2000))
    read_or_refuse(tmp_path / "a.mha", 0)
