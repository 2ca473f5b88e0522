"""A result's folder is complete or not there, and nothing outside it is touched."""

import json

import pytest
from COFGeneratorLib.errors import ChainOfFlowError
from COFGeneratorLib.results.folder import ResultFolder


def publish(out, files, overwrite=False, request="the same"):
    with ResultFolder(out, overwrite, request) as folder:
        for name, text in files.items():
            (folder / name).write_text(text)
        content = {"product": "ChainOfFlow", "files": [*files, "run.json"], "request_sha256": request}
        (folder / "run.json").write_text(json.dumps(content))


def test_a_result_appears_only_when_complete(tmp_path):
    out = tmp_path / "a" / "b"
    with ResultFolder(out) as folder:
        (folder / "x").write_text("1")
        assert not out.exists()
    assert (out / "x").read_text() == "1"
    assert [path.name for path in out.parent.iterdir()] == ["b"]


def fail_half_way(out):
    with ResultFolder(out, overwrite=True) as folder:
        (folder / "x").write_text("1")
        raise RuntimeError("half way")


def test_a_failed_result_takes_its_folders_with_it(tmp_path):
    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way(tmp_path / "a" / "b" / "c")
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_result_is_replaced_without_stale_files(tmp_path):
    publish(tmp_path / "r", {"cine": "old", "labels": "old"})
    publish(tmp_path / "r", {"cine": "new"})
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == ["cine", "run.json"]
    assert (tmp_path / "r" / "cine").read_text() == "new"


def test_an_earlier_result_survives_a_failed_attempt(tmp_path):
    publish(tmp_path / "r", {"cine": "old"})
    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way(tmp_path / "r")
    assert (tmp_path / "r" / "cine").read_text() == "old"


def test_overwrite_keeps_files_that_are_not_ours(tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "notes.txt").write_text("mine")
    publish(tmp_path / "r", {"cine": "new"}, overwrite=True)
    publish(tmp_path / "r", {"other": "newer"})
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == ["notes.txt", "other", "run.json"]


def test_a_forged_manifest_removes_nothing_outside_the_folder(tmp_path):
    victim = tmp_path / "precious.txt"
    victim.write_text("mine")
    (tmp_path / "r").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("mine")
    (tmp_path / "r" / "link").symlink_to(tmp_path / "elsewhere")
    listed = ["../precious.txt", str(victim), "link/file", "run.json", 7, None]
    (tmp_path / "r" / "run.json").write_text(json.dumps({"product": "ChainOfFlow", "files": listed}))
    publish(tmp_path / "r", {"cine": "new"}, overwrite=True)
    assert victim.read_text() == "mine"
    assert (tmp_path / "elsewhere" / "file").read_text() == "mine"
    assert (tmp_path / "r" / "link" / "file").read_text() == "mine"


def test_a_result_of_other_settings_is_replaced_only_when_told(tmp_path):
    publish(tmp_path / "r", {"cine": "old"}, request="one")
    with pytest.raises(ChainOfFlowError, match="--overwrite"):
        publish(tmp_path / "r", {"cine": "new"}, request="other")
    with pytest.raises(ChainOfFlowError, match="--overwrite"):
        publish(tmp_path / "r", {"cine": "new"}, request="")
    assert (tmp_path / "r" / "cine").read_text() == "old"
    publish(tmp_path / "r", {"cine": "again"}, request="one")
    assert (tmp_path / "r" / "cine").read_text() == "again"
    publish(tmp_path / "r", {"cine": "new"}, overwrite=True, request="other")
    assert (tmp_path / "r" / "cine").read_text() == "new"
