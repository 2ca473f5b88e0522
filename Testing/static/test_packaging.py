"""What an installed extension consists of: listed files, one flat folder, the index entry."""

import itertools
import json
import re
import struct
import subprocess
from pathlib import Path

import pytest
from static import cmake_lists

ROOT = Path(__file__).resolve().parents[2]

CATEGORIES = {"Cardiac", "Image Synthesis", "Sequences", "Segmentation", "Machine Learning"}
"""Of the index's closed list, those that would fit us."""

MAX_CLONE_MB = 99.8
"""Of files and history together; the index refuses repositories from 100 on."""
MAX_PICTURES_MB = 2
"""Of screenshots and example reports together."""


@pytest.mark.parametrize("module", cmake_lists.MODULES)
def test_every_file_of_a_module_is_listed_and_every_listed_file_exists(module):
    text = (ROOT / module / "CMakeLists.txt").read_text("utf-8")
    assert cmake_lists.lists_in(text) == cmake_lists.files_of(module), (
        "run: python Testing/static/cmake_lists.py --write"
    )


def test_a_forgotten_file_would_be_noticed():
    text = (ROOT / "COFGenerator" / "CMakeLists.txt").read_text("utf-8")
    scripts, resources = cmake_lists.files_of("COFGenerator")
    shorter = cmake_lists.with_lists(text, scripts[:-1], resources)
    assert cmake_lists.lists_in(shorter) == (scripts[:-1], resources)
    assert cmake_lists.lists_in(cmake_lists.with_lists(shorter, scripts, resources)) == (scripts, resources)


def test_lists_can_be_filled_from_empty():
    empty = "set(MODULE_NAME COFX)\nset(MODULE_PYTHON_SCRIPTS\n  )\n\nset(MODULE_PYTHON_RESOURCES\n  )\nend"
    filled = cmake_lists.with_lists(empty, ["COFX.py"], ["Resources/a.png"])
    assert cmake_lists.lists_in(filled) == (["COFX.py"], ["Resources/a.png"])
    assert filled.endswith("  )\nend")


def test_modules_do_not_overwrite_each_other_in_the_flat_install_folder():
    seen: dict[str, str] = {}
    for module in cmake_lists.MODULES:
        for name in itertools.chain(*cmake_lists.files_of(module)):
            assert name.lower() not in seen, f"{name} of {module} would replace that of {seen.get(name.lower())}"
            seen[name.lower()] = module
    shared = ["Resources/Models", "Resources/SampleData"]
    assert not [name for name in seen if any(name.startswith(folder.lower() + "/") for folder in shared)]


@pytest.mark.parametrize("module", cmake_lists.MODULES)
def test_only_the_module_file_lies_beside_it(module):
    """Slicer takes every .py directly in a module folder for a module."""
    scripts, _ = cmake_lists.files_of(module)
    assert [name for name in scripts if "/" not in name] == [f"{module}.py"]


@pytest.mark.parametrize("module", cmake_lists.MODULES)
def test_the_icon_is_found_on_systems_that_mind_case(module):
    names = [path.name for path in (ROOT / module / "Resources" / "Icons").iterdir()]
    assert f"{module}.png" in names
    assert png_size(ROOT / module / "Resources" / "Icons" / f"{module}.png") == (128, 128)


def test_the_extension_has_a_name_that_the_index_accepts():
    text = (ROOT / "CMakeLists.txt").read_text("utf-8")
    name = re.search(r"project\((\w+)\)", text).group(1)
    assert name == "ChainOfFlow"
    assert not name.startswith("Slicer")
    entry = json.loads((ROOT / "Resources" / f"{name}.json").read_text("utf-8"))
    allowed = {
        "$schema", "category", "scm_url", "scm_revision", "scm_type", "build_dependencies", "dicom_support_rule",
        "build_subdirectory", "enabled", "tier",
    }  # fmt: skip
    assert {"$schema", "category", "scm_url"} <= set(entry) <= allowed
    assert entry["category"] in CATEGORIES
    assert entry["build_dependencies"] == ["PyTorch"]
    assert 1 <= entry["tier"] <= 5
    assert Path(entry["scm_url"]).stem.startswith("Slicer")
    assert b"\r" not in (ROOT / "Resources" / f"{name}.json").read_bytes()


@pytest.mark.parametrize(
    "variable",
    [
        "EXTENSION_HOMEPAGE",
        "EXTENSION_CONTRIBUTORS",
        "EXTENSION_DESCRIPTION",
        "EXTENSION_ICONURL",
        "EXTENSION_SCREENSHOTURLS",
        "EXTENSION_DEPENDS",
    ],
)
def test_the_extension_describes_itself(variable):
    text = (ROOT / "CMakeLists.txt").read_text("utf-8")
    value = re.search(rf'set\({variable} "(.+)"\)', text).group(1)
    for url in re.findall(r"https://raw\.githubusercontent\.com/\S+?/main/(\S+)", value):
        assert (ROOT / url).is_file(), f"{url} is not in the tree"
        assert url.endswith((".png", ".jpg", ".gif"))


def test_screenshots_are_small_enough_to_read_and_to_ship():
    for path in (ROOT / "Resources" / "Screenshots").glob("CO*.png"):
        width, height = png_size(path)
        assert width >= 420
        assert height >= 300
        assert path.stat().st_size < 1_000_000


def test_pictures_and_example_reports_stay_small():
    """They change with every figure, and each version of them stays in the history."""
    folders = [ROOT / "Resources" / "Screenshots", *(ROOT / "Resources" / "Docs").glob("*-example")]
    sizes = {
        folder.name: sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) for folder in folders
    }
    assert set(sizes) == {"Screenshots", "evaluation-example", "ecgflowcmr-example"}
    assert sum(sizes.values()) <= MAX_PICTURES_MB * 1e6, sizes


def test_a_clone_stays_below_the_limit_of_the_index():
    """What a clone brings: the files, and the pack of all that the history reaches."""
    try:
        shallow = git("rev-parse", "--is-shallow-repository").strip() == b"true"
        listed = git("ls-tree", "-r", "-l", "HEAD").splitlines()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    size = sum(int(line.split()[3]) for line in listed)
    if not shallow:  # else the history is elsewhere
        size += len(git("pack-objects", "--revs", "--stdout", "-q", given=b"HEAD\n"))
    assert size < MAX_CLONE_MB * 1e6


def git(*words: str, given: bytes = b"") -> bytes:
    """Return what git says of this tree."""
    return subprocess.run(["git", *words], cwd=ROOT, input=given, capture_output=True, check=True).stdout


def test_generation_asks_slicer_users_for_nothing_that_the_package_does_not_need():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    text = (ROOT / "COFGenerator" / "Resources" / "COFGenerator-requirements.txt").read_text("utf-8")
    asked = {line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")}
    brought_by_slicer = {"numpy", "scipy", "SimpleITK", "pydicom", "pillow"}
    needed = {line for line in project["dependencies"] if re.match(r"[\w-]+", line).group() not in brought_by_slicer}
    assert asked == needed - {line for line in needed if line.startswith("torch")}


def png_size(path: Path) -> tuple[int, int]:
    data = path.read_bytes()[:24]
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", data[16:24])
