"""Who may import whom, read from the source."""

import ast
import functools
import sys
from pathlib import Path

import pytest
from support import house

ROOT = Path(__file__).resolve().parents[2]
GENERATOR = ROOT / "COFGenerator" / "COFGeneratorLib"
TRAINING = ROOT / "COFTraining" / "COFTrainingLib"
MODULE_FILES = [ROOT / name / f"{name}.py" for name in ("COFGenerator", "COFTraining")]
DEPENDENCIES = GENERATOR / "ui" / "dependencies.py"

QT = {"qt", "ctk", "PySide6", "PyQt5", "PyQt6", "PythonQt"}
SLICER = {"slicer", "vtk", "vtkmodules", "sitkUtils"}
HEAVY = {"torch", "monai"}
IN_SLICER = {"slicer", "vtk", "SimpleITK", "numpy", "scipy", "qt", "ctk"}
"""What a file of an extension may import when it is loaded; the rest only where it is used."""
INSTALLERS = {"pip_install", "pip_ensure", "pip_uninstall", "installTorch", "installExtensionFromServer"}

PURE_ROOMS = ("ecg", "anatomy", "motion", "function", "jobs")


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


@functools.cache
def imports_of(path: Path) -> frozenset[str]:
    """Return the top-level names of everything a file imports anywhere."""
    return frozenset(name.split(".")[0] for name in _imported(ast.walk(tree_of(path))))


def imports_at_load(path: Path) -> set[str]:
    """Return the top-level names of what a file imports when it is loaded itself."""
    nodes, found = list(tree_of(path).body), []
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        found.append(node)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            nodes.extend(ast.iter_child_nodes(node))
    return {name.split(".")[0] for name in _imported(found)}


def _imported(nodes):
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module


def files(*folders: Path) -> list[Path]:
    found = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    assert found, "no files to check"
    return found


def offenders(paths, forbidden, imports=imports_of) -> dict[str, list[str]]:
    """Return file → what it imports although it must not."""
    found = {path.relative_to(ROOT).as_posix(): sorted(imports(path) & set(forbidden)) for path in paths}
    return {name: names for name, names in found.items() if names}


@pytest.mark.parametrize("room", PURE_ROOMS)
def test_pure_rooms_know_neither_slicer_nor_qt(room):
    assert offenders(files(GENERATOR / room), QT | SLICER) == {}


def test_the_scene_room_knows_no_qt_and_loads_slicer_only_when_used():
    assert offenders(files(GENERATOR / "scene"), QT) == {}
    assert offenders(files(GENERATOR / "scene"), SLICER, imports_at_load) == {}


def test_nothing_that_runs_in_the_application_imports_torch():
    rooms = (GENERATOR / "ui", GENERATOR / "scene", GENERATOR / "jobs", TRAINING / "ui")
    assert offenders([*MODULE_FILES, *files(*rooms)], HEAVY) == {}


def test_qt_stays_in_the_ui_rooms():
    paths = [path for path in files(GENERATOR, TRAINING) if path.parent not in (GENERATOR / "ui", TRAINING / "ui")]
    assert offenders(paths, QT) == {}


def test_no_circle_of_files():
    assert house.circles(house.graph()) == []


def test_the_lower_floor_does_not_know_the_upper_one():
    """Neither by an import nor by a name in a string."""
    up = [
        (module, other)
        for module, others in house.graph().items()
        for other in others
        if module.startswith("COFGenerator") and other.startswith("COFTraining")
    ]
    assert up == []


ROOMS = [
    ("COFGeneratorLib", house.GENERATOR_ROOMS),
    ("COFTrainingLib", house.TRAINING_ROOMS),
    ("COFTrainingLib.training", house.STAGES),
]


@pytest.mark.parametrize(("package", "rooms"), ROOMS, ids=[package for package, _ in ROOMS])
def test_rooms_stand_on_lower_ones_alone(package, rooms):
    there = {house.room_of(module, package) for module in house.product()} - {""}
    assert there == {room for line in rooms for room in line}, "give every room its place in Testing/support/house.py"
    assert house.arrows_up(house.graph(), package, rooms) == []


BESIDE = {"Benchmarks", "slicer_host", "static", "support"}
"""What lies in ``Testing`` beside the rooms; ``slicer_host`` tests the modules and the rooms ``ui``."""


def test_tests_live_in_rooms_of_the_product_s_names():
    testing = house.ROOT / "Testing"
    rooms = {path.parent.relative_to(testing).as_posix() for path in testing.rglob("test_*.py")} - {"."}
    rooms = {room for room in rooms if room.split("/")[0] not in BESIDE}
    assert [room for room in rooms if not any((floor / room).is_dir() for floor in (GENERATOR, TRAINING))] == []
    untested = {
        room.name
        for floor in (GENERATOR, TRAINING)
        for room in floor.iterdir()
        if room.is_dir() and any(room.rglob("*.py")) and room.name not in {path.split("/")[0] for path in rooms}
    }
    assert untested == {"ui"}


PUT_BACK = [
    ("COFGeneratorLib.cli", 'import importlib\nimportlib.import_module("COFTrainingLib.cli")'),
    ("COFGeneratorLib.commands.bundle", 'NAME = "export"\nWHERE = f"COFTrainingLib.commands.{NAME}"'),
    ("COFGeneratorLib.scene.generation", 'ARGV = ("-m", "COFGeneratorLib.commands.ecg_trace")'),
    ("COFGeneratorLib.generator.encoders.signals", "from COFGeneratorLib.generator.encoders import contract"),
    ("COFTrainingLib.commands.train_ecgflowcmr", "from COFTrainingLib.commands.train import add as other"),
    (
        "COFTrainingLib.training.loop.run_state",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from COFTrainingLib.training.loop.loop import train",
    ),
    ("COFGeneratorLib.ecg.cycle", "def f():\n    from COFGeneratorLib import generate"),
    ("COFGeneratorLib.ecg.record", "def f():\n    from COFGeneratorLib.anatomy.stack import SaxStack"),
    ("COFTrainingLib.phantom.heart", "from COFTrainingLib.cohort.manifest import Cohort"),
    ("COFTrainingLib.training.loop.loop", "from COFTrainingLib.training.motion import stage_two"),
]


@pytest.mark.parametrize(("module", "lines"), PUT_BACK, ids=[module for module, _ in PUT_BACK])
def test_an_arrow_of_old_is_noticed_when_it_is_put_back(module, lines):
    known = house.product()
    arrows = dict(house.graph())
    arrows[module] = arrows[module] | house.imports_in(lines, known) - {module}
    assert arrows[module] != house.graph()[module], "what is put back is read"
    up = [one for package, rooms in ROOMS for one in house.arrows_up(arrows, package, rooms)]
    down_the_stair = any(other.startswith("COFTraining") for other in arrows[module]) and "COFGenerator" in module
    assert house.circles(arrows) or up or down_the_stair


def test_files_of_the_application_load_nothing_that_slicer_does_not_bring():
    allowed = IN_SLICER | set(sys.stdlib_module_names) | {"COFGeneratorLib", "COFTrainingLib"}
    for path in [*MODULE_FILES, *files(GENERATOR / "ui", TRAINING / "ui")]:
        assert imports_at_load(path) <= allowed, path.name


@pytest.mark.parametrize("path", MODULE_FILES, ids=lambda path: path.stem)
def test_module_files_only_define_things_when_loaded(path):
    """Nothing is installed, downloaded or computed by importing a module."""
    allowed = (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef, ast.Assign, ast.AnnAssign)
    for node in tree_of(path).body:
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        assert docstring or isinstance(node, allowed), ast.unparse(node)
        if isinstance(node, ast.Assign):
            assert isinstance(node.value, ast.Constant), ast.unparse(node)


def test_packages_are_installed_by_the_dependencies_page_alone():
    for path in [*files(GENERATOR, TRAINING), *MODULE_FILES]:
        nodes = list(ast.walk(tree_of(path)))
        names = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        names |= {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
        assert not names & INSTALLERS or path == DEPENDENCIES, path.name
    assert "installTorch" in DEPENDENCIES.read_text("utf-8")


def test_the_checks_see_an_import_hidden_in_a_function(tmp_path):
    path = tmp_path / "x.py"
    path.write_text("import os\ndef f():\n    from torch import nn\nclass A:\n    import qt\n")
    assert imports_of(path) == {"os", "torch", "qt"}
    assert imports_at_load(path) == {"os", "qt"}
