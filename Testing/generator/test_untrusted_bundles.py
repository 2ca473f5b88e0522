"""Bundles that anybody may have made: what is checked is what is loaded, and nothing else, within bounds."""

import json
import os
import shutil
import sys
import time

import pytest
from COFGeneratorLib.errors import BundleError
from COFGeneratorLib.files import sha256_of
from COFGeneratorLib.generator.bundle import load_bundle, read_metadata
from COFGeneratorLib.machine import peak_memory_mb

METADATA = "configs/metadata.json"
posix = pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")


@pytest.fixture
def bundle(tiny_bundle_folder, tmp_path):
    shutil.copytree(tiny_bundle_folder, tmp_path / "bundle")
    return tmp_path / "bundle"


def rewrite(bundle, change, hashes=True):
    """Change the metadata, the checksums made to fit the files unless told otherwise."""
    metadata = json.loads((bundle / METADATA).read_text())
    change(metadata)
    if hashes:
        metadata["checksums"] = {name: sha256_of(bundle / name) for name in metadata["checksums"]}
    (bundle / METADATA).write_text(json.dumps(metadata))


def test_the_copy_as_it_is_loads(bundle):
    assert load_bundle(bundle).model_id == "tiny 1"


@pytest.mark.parametrize("name", ["flow.safetensors", "ecg.safetensors"])
def test_weights_that_are_not_listed_do_not_load(bundle, name):
    rewrite(bundle, lambda metadata: metadata["checksums"].pop(f"models/{name}"))
    with pytest.raises(BundleError, match=f"models/{name}"):
        load_bundle(bundle)


@pytest.mark.parametrize(
    "name", ["segmenter/segmenter.json", "teacher/model.safetensors", "population.safetensors", "x/y/Z.SafeTensors"]
)
def test_what_could_be_loaded_later_must_be_listed_too(bundle, name):
    (bundle / "models" / name).parent.mkdir(parents=True, exist_ok=True)
    (bundle / "models" / name).write_bytes(b"{}")
    with pytest.raises(BundleError, match="must be in its checksums"):
        read_metadata(bundle)


@posix
def test_a_link_to_a_file_elsewhere_is_refused(bundle, tmp_path):
    shutil.move(bundle / "models" / "flow.safetensors", tmp_path / "flow.safetensors")
    (bundle / "models" / "flow.safetensors").symlink_to(tmp_path / "flow.safetensors")
    with pytest.raises(BundleError, match="lie within it"):
        load_bundle(bundle)


@posix
@pytest.mark.parametrize("where", ["outside", "inside", "loop"])
def test_a_folder_that_is_a_link_is_refused(bundle, tmp_path, where):
    target = {"outside": tmp_path / "other", "inside": bundle / "docs", "loop": bundle / "models"}[where]
    target.mkdir(exist_ok=True)
    (bundle / "models" / "teacher").symlink_to(target)
    with pytest.raises(BundleError, match="found the link teacher"):
        read_metadata(bundle)


@pytest.mark.parametrize("name", ["../outside.safetensors", "models/../../outside.safetensors", "..\\outside", "", "."])
def test_a_listed_name_that_leads_out_is_refused(bundle, tmp_path, name):
    (tmp_path / "outside.safetensors").write_bytes(b"x")
    rewrite(bundle, lambda metadata: metadata["checksums"].update({name: "0" * 64}), hashes=False)
    with pytest.raises(BundleError, match="lie within it"):
        read_metadata(bundle)


def test_a_listed_name_that_no_file_can_have_is_missing(bundle):
    rewrite(bundle, lambda metadata: metadata["checksums"].update({"x" * 300: "0" * 64}), hashes=False)
    with pytest.raises(BundleError, match="is missing"):
        read_metadata(bundle)


@pytest.mark.parametrize("value", [None, 5, "abc", "Z" * 64, ["0" * 64]])
def test_a_checksum_is_a_checksum(bundle, value):
    def change(metadata):
        metadata["checksums"]["models/flow.safetensors"] = value

    rewrite(bundle, change, hashes=False)
    with pytest.raises(BundleError, match="must be a SHA-256"):
        read_metadata(bundle)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"null", b"[" * 200_000, b'{"cof": {"a":' * 50_000, b"\xff",
        b'{"format": 1e999, "name": "a", "version": "1", "checksums": {"a": "b"}, "cof": {"grid": {}}}',
        b'{"format": 1, "name": "a", "version": "1", "checksums": {"a": "b"}, "cof": {"grid": {}, "gain": NaN}}',
        b'{"format": 1, "name": ["a"], "version": "1", "checksums": {"a": "b"}, "cof": {"grid": {}}}',
        b'{"format": 1, "name": "a", "version": "1", "checksums": {"a": "b"}, "cof": []}',
        b'{"format": 1, "name": "a", "version": "1", "checksums": 7, "cof": {"grid": {}}}',
        b'{"format": ' + b"9" * 5000 + b"}",
        b" " * (17 << 20),
    ],
)  # fmt: skip
def test_metadata_that_is_none_is_refused(bundle, content):
    (bundle / METADATA).write_bytes(content)
    with pytest.raises(BundleError, match=r"complete configs/metadata\.json"):
        read_metadata(bundle)


@pytest.mark.parametrize("number", ["nan", "inf"])
def test_weights_must_be_finite(bundle, number):
    from safetensors.torch import load_file, save_file

    path = bundle / "models" / "flow.safetensors"
    state = load_file(path)
    name = next(name for name, value in state.items() if value.is_floating_point())
    state[name].view(-1)[0] = float(number)
    save_file(state, path)
    rewrite(bundle, lambda metadata: None)
    with pytest.raises(BundleError, match="must be finite"):
        load_bundle(bundle)


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [
        ("flow", "widths", [100_000, 100_000, 100_000]),
        ("flow", "blocks", 10**9),
        ("flow", "components", 10**6),
        ("flow", "hidden", 10**9),
        ("ecg", "size", 10**7),
    ],
)
def test_networks_that_claim_more_than_the_files_hold_cost_neither_time_nor_memory(bundle, part, field, value):
    rewrite(bundle, lambda metadata: metadata["cof"][part].update({field: value}))
    before, start = peak_memory_mb(), time.monotonic()
    with pytest.raises(BundleError):
        load_bundle(bundle)
    assert time.monotonic() - start < 20.0
    if before is not None:
        assert peak_memory_mb() - before < 500.0


def test_a_bundle_of_too_many_or_too_large_files_is_refused(bundle):
    rewrite(bundle, lambda metadata: metadata["checksums"].update({f"m{n}": "0" * 64 for n in range(1001)}), False)
    with pytest.raises(BundleError, match="1000 at most"):
        read_metadata(bundle)


@posix
def test_large_sparse_files_are_refused_before_they_are_read(bundle):
    for name in ("a", "b"):
        with (bundle / "models" / name).open("wb") as stream:
            os.truncate(stream.fileno(), 600 << 20)
    rewrite(bundle, lambda m: m["checksums"].update({"models/a": "0" * 64, "models/b": "0" * 64}), hashes=False)
    with pytest.raises(BundleError, match="too large"):
        read_metadata(bundle)
