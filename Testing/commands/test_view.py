"""``cof view``, and what is suggested where a word is misspelt."""

import webbrowser

import pytest


def test_the_page_of_a_result_is_opened(cof, tmp_path, monkeypatch):
    opened = []
    monkeypatch.setattr(webbrowser, "open", lambda address: opened.append(address) or True)
    (tmp_path / "viewer.html").write_text("x", encoding="utf-8")
    assert cof("view", tmp_path).code == 0
    assert opened == [(tmp_path / "viewer.html").as_uri()]


def test_without_a_browser_the_file_is_named(cof, tmp_path, monkeypatch):
    monkeypatch.setattr(webbrowser, "open", lambda address: False)
    (tmp_path / "viewer.html").write_text("x", encoding="utf-8")
    run = cof("view", tmp_path)
    assert run.code == 0
    assert str(tmp_path / "viewer.html") in run.out


def test_a_folder_without_a_page_is_refused_with_what_to_do(cof, tmp_path):
    run = cof("view", tmp_path)
    assert run.code == 2
    assert "viewer.html" in run.err
    assert "--out" in run.err


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["genrate"], "generate"),
        (["demo", "--frmes", "4", "--out", "x"], "--frames"),
        (["demo", "--outt=x"], "--out"),
        (["bundle", "infoo"], "info"),
        (["ecg", "a.hea", "--out", "x", "--quite"], "--quiet"),
    ],
)
def test_what_is_misspelt_gets_a_suggestion(cof, words, meant):
    run = cof(*words)
    assert run.code == 2
    assert f"Did you mean {meant}" in run.err


def test_nothing_is_suggested_where_nothing_is_near(cof):
    run = cof("demo", "--zzzzzz", "--out", "x")
    assert run.code == 2
    assert "Did you mean" not in run.err
    assert "--zzzzzz" in run.err


@pytest.mark.parametrize("command", ["demo", "generate", "ecg", "batch", "register", "view"])
def test_help_has_an_example_that_the_parser_takes(cof, command, monkeypatch):
    import shlex

    from COFGeneratorLib.cli import build_parser

    monkeypatch.setenv("COLUMNS", "200")
    example = cof(command, "--help").out.split("example: ")[1].split(" && ")[0].strip()
    words = shlex.split(example)
    assert words[0] == "cof"
    assert build_parser().parse_args(words[1:]).run
