"""The eleven questions that reviewers of the Extensions Index ask, answered by the tree; and links of the docs."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
DOCS = sorted((ROOT / "Resources" / "Docs").glob("*.md"))
MODULES = ("COFGenerator", "COFTraining")
LIBRARIES = {f"{name}Lib": ROOT / name for name in MODULES}
NETWORK = {"requests", "urllib3", "http", "ftplib", "smtplib", "socket", "aiohttp", "httpx", "wget"}
IN_SLICER = {"slicer", "vtk", "SimpleITK", "numpy", "scipy", "qt", "ctk"}


def sources() -> list[Path]:
    """Return every Python file that is shipped."""
    return [path for name in MODULES for path in sorted((ROOT / name).rglob("*.py"))]


def imported(path: Path, everywhere: bool) -> set[str]:
    """Return full names of what a file imports; at file scope only, or anywhere in it."""
    nodes, names = list(ast.parse(path.read_text("utf-8")).body), set()
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        if everywhere or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            nodes.extend(ast.iter_child_nodes(node))
    return names


def reached_by_opening(module: str) -> set[Path]:
    """Return the files that are loaded when a module is loaded and its panel is opened."""
    start = [ROOT / module / f"{module}.py", *sorted((ROOT / module / f"{module}Lib" / "ui").glob("*.py"))]
    found: set[Path] = set()
    while start:
        path = start.pop()
        if path in found or not path.is_file():
            continue
        found.add(path)
        for name in imported(path, everywhere=False):
            top = name.split(".")[0]
            if top in LIBRARIES:
                parts = name.split(".")
                for end in range(1, len(parts) + 1):
                    place = LIBRARIES[top].joinpath(*parts[:end])
                    start += [place.with_suffix(".py"), place / "__init__.py"]
    return found


def test_1_the_description_says_what_the_extension_does():
    text = re.search(r'EXTENSION_DESCRIPTION "(.+)"', (ROOT / "CMakeLists.txt").read_text("utf-8")).group(1)
    assert 60 < len(text) < 400
    for word in ("MRI", "ECG", "heart", "research"):
        assert word in text


def test_2_the_readme_begins_with_a_summary():
    paragraph = README.split("\n\n")[1]
    assert "MRI" in paragraph
    assert "ECG" in paragraph
    assert "3D Slicer" in paragraph


def test_3_the_readme_has_pictures_that_exist():
    pictures = re.findall(r"!\[[^\]]{10,}\]\(([^)]+\.(?:png|gif|jpg|webp))\)", README)
    assert len(pictures) >= 2
    assert all((ROOT / picture).is_file() for picture in pictures)


@pytest.mark.parametrize("module", MODULES)
def test_4_the_readme_describes_each_module(module):
    described = re.search(rf"\[`{module}`\]\([^)]+\.md\)\s([^;.]+)[;.]", README)
    assert described
    assert len(described.group(1).split()) >= 5


def test_5_the_readme_says_how_to_cite():
    section = README.split("## How to cite")[1].split("\n## ")[0]
    assert "arXiv" in section


def test_6_there_is_a_tutorial_with_its_sample_data():
    section = README.split("## In 3D Slicer")[1].split("\n## ")[0]
    assert len(re.findall(r"^\d+\. ", section, re.MULTILINE)) >= 4
    assert "Sample Data" in section or "sample patient" in section
    assert (ROOT / "Resources" / "SampleData" / "anchor.nrrd").is_file()


def test_7_nothing_is_downloaded_or_uploaded():
    for path in sources():
        names = {name.split(".")[0] for name in imported(path, everywhere=True)}
        assert not names & NETWORK, path
        assert "urllib.request" not in imported(path, everywhere=True), path


def test_8_importing_a_file_runs_nothing():
    """At file scope stand definitions, constants and imports; no calls for their effect."""
    for path in sources():
        if path.name == "__main__.py":
            continue
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.If):
                assert re.search("__name__|TYPE_CHECKING|sys.platform", ast.unparse(node.test)), (path, node.lineno)
                continue
            if isinstance(node, ast.For):  # a table that is filled in
                assert all(isinstance(step, ast.Assign) for step in node.body), (path, node.lineno)
                continue
            documented = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            allowed = (
                ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef, ast.Assign,
                ast.AnnAssign, ast.AugAssign,
            )  # fmt: skip
            assert documented or isinstance(node, allowed), f"{path}:{node.lineno}: {ast.unparse(node)[:80]}"


@pytest.mark.parametrize("module", MODULES)
def test_9_opening_a_module_imports_only_what_slicer_brings(module):
    reached = reached_by_opening(module)
    assert len(reached) > 10
    allowed = IN_SLICER | set(sys.stdlib_module_names) | set(LIBRARIES) | {"COFGenerator"}
    for path in reached:
        names = {name.split(".")[0] for name in imported(path, everywhere=False)}
        assert names <= allowed, f"{path}: {sorted(names - allowed)}"


def test_10_torch_is_never_installed_by_pip_directly():
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if name in ("pip_install", "pip_ensure"):
                    assert "torch" not in ast.unparse(node), f"{path}:{node.lineno}"
    requirements = (ROOT / "COFGenerator" / "Resources" / "COFGenerator-requirements.txt").read_text("utf-8")
    assert not re.search(r"^torch", requirements, re.MULTILINE)


def test_11_what_jobs_leave_on_disk_is_removed_or_the_users_own():
    """No cache of downloads is kept (question 7); folders of finished jobs are taken away by who started them."""
    view = (ROOT / "COFGenerator" / "COFGeneratorLib" / "ui" / "generator_view.py").read_text("utf-8")
    assert "rmtree" in view
    assert "Nothing is sent anywhere" in (ROOT / "Resources" / "Docs" / "limits.md").read_text("utf-8")


@pytest.mark.parametrize("page", [*sorted(ROOT.glob("*.md")), *DOCS], ids=lambda path: path.name)
def test_links_and_pictures_of_the_docs_lead_somewhere(page):
    text = re.sub(r"```.*?```|`[^`\n]+`", "", page.read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_page_is_in_the_table_of_contents():
    contents = (ROOT / "Resources" / "Docs" / "README.md").read_text("utf-8")
    assert [page.name for page in DOCS if page.name != "README.md" and f"({page.name})" not in contents] == []


def test_the_homepage_is_the_same_everywhere():
    texts = [(ROOT / name).read_text("utf-8") for name in ("CMakeLists.txt", "Resources/ChainOfFlow.json")]
    found = set(re.findall(r"github(?:usercontent)?\.com/([\w-]+/[\w-]+)", "\n".join(texts)))
    assert found - {"Slicer/Slicer"} == {"ChainOfFlow/SlicerChainOfFlow"}
