"""Completion of commands, options and choices, by bash itself; examples in every help."""

import argparse
import shlex
import shutil
import subprocess

import pytest
from COFGeneratorLib.cli import build_parser
from COFTrainingLib.cli import COMMANDS


def leaves(parser, path=()):
    """Yield every parser without sub-commands, with the words that lead to it."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield path, parser
    for action in below:
        for name, one in action.choices.items():
            yield from leaves(one, (*path, name))


@pytest.fixture(scope="module")
def everything():
    return build_parser(COMMANDS)


def test_every_help_has_an_example_of_its_own_command_that_its_parser_takes(everything):
    found = dict(leaves(everything))
    assert len(found) > 25
    for path, parser in found.items():
        assert parser.epilog, path
        example = parser.epilog.split("example: ")[1].split("\n")[0].strip()
        words = shlex.split(example)
        assert words[0] == "cof"
        assert tuple(words[1 : 1 + len(path)]) == path
        assert everything.parse_args(words[1:]).run


@pytest.fixture(scope="module")
def complete(everything, tmp_path_factory):
    """Return what bash offers after some words, the last of which is being typed."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not on this machine")
    from COFGeneratorLib.commands.completion import script

    file = tmp_path_factory.mktemp("completion") / "cof.bash"
    file.write_text(script("bash", everything), encoding="utf-8")

    def offered(*words):
        line = " ".join(shlex.quote(word) for word in ("cof", *words))
        code = f'source {file}; COMP_WORDS=({line}); COMP_CWORD={len(words)}; _cof; printf "%s\\n" "${{COMPREPLY[@]}}"'
        done = subprocess.run([bash, "--norc", "-c", code], capture_output=True, encoding="utf-8", check=True)
        assert done.stderr == ""
        return done.stdout.split()

    return offered


def test_bash_completes_commands_verbs_options_and_choices(complete, tmp_path, monkeypatch):
    assert complete("gen") == ["generate"]
    assert complete("bundle", "in") == ["info"]
    assert complete("train", "flow", "--res") == ["--resume"]
    assert "--ef" in complete("generate", "--anchor", "x", "--e")
    assert complete("export", "heart", "--to", "") == ["nifti", "dicom", "csv", "mesh"]
    assert set(complete("")) == set(COMMANDS)


def test_bash_completes_files_where_no_option_is_begun(complete, tmp_path):
    (tmp_path / "sax.nrrd").write_text("")
    assert complete("generate", "--anchor", f"{tmp_path}/sa") == [f"{tmp_path}/sax.nrrd"]


def test_the_command_prints_the_script_of_all_that_cof_has(cof):
    bash, zsh = cof("completion", "bash"), cof("completion", "zsh")
    assert bash.code == zsh.code == 0
    assert "cohort" in bash.out
    assert zsh.out.startswith("autoload")
    assert cof("completion", "fish").code == 2
