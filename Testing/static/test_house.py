"""What a reader of the repository meets: links that lead somewhere, versions in one place, docstrings everywhere."""

import ast
import re
import tomllib

import pytest


def test_every_local_link_of_the_readme_leads_to_a_file(repository):
    text = (repository / "README.md").read_text(encoding="utf-8")
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert links
    assert [link for link in links if not (repository / link).exists()] == []


def test_the_readme_opens_with_the_product_and_names_the_two_commands(repository):
    text = (repository / "README.md").read_text(encoding="utf-8")
    assert text.index("](Resources/Screenshots/") < text.index("make demo") < text.index("make test")
    assert "research use only" in text.lower()


def test_every_dependency_is_pinned_in_one_place(repository):
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = (
        project["dependencies"] + project["optional-dependencies"]["slicer"] + project["optional-dependencies"]["test"]
    )
    names = {re.split(r"[><=\[ ]", one)[0].lower() for one in wanted}
    lines = (repository / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.split("==")[0].lower() for line in lines if "==" in line}
    assert names <= pinned


def test_continuous_integration_runs_make_test(repository):
    script = repository / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert "make test" in script.read_text(encoding="utf-8")


@pytest.mark.parametrize("floor", ["COFGenerator", "COFTraining"])
def test_every_module_says_what_it_is_for(repository, floor):
    bare = []
    for path in sorted((repository / floor).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if ast.get_docstring(ast.parse(text)) is None:
            bare.append(str(path.relative_to(repository)))
    assert bare == []
