"""The house as the source tells it: files, what each imports (also by string), rooms, floors and circles."""

import ast
import functools
import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
FLOORS = ("COFGenerator", "COFTraining")
"""Folders of the two floors, the lower one first."""

GENERATOR_ROOMS = (
    ("errors", "lazy"),
    ("dicom_elements",),
    ("files", "folders", "machine", "resources"),
    ("ecg", "jobs", "motion", "weights"),
    ("anatomy",),
    ("function",),
    ("cine",),
    ("registration", "figures"),
    ("export", "generator"),
    ("ecgflowcmr", "scene"),
    ("results",),
    ("cases",),
    ("commands",),
    ("cli",),
    ("batch", "ui"),
)
"""Rooms of the lower floor from the ground up: a room stands on those of the lines before its own, on nothing else."""

TRAINING_ROOMS = (
    ("phantom",),
    ("cohort",),
    ("training",),
    ("evaluation",),
    ("studies",),
    ("commands",),
    ("cli",),
    ("ui",),
)

STAGES = (
    ("loop", "publishing"),
    ("examples", "ecg", "segmenter", "teacher"),
    ("motion",),
    ("bundles", "comparators", "ecgflowcmr"),
    ("configurations",),
    ("differences",),
)
"""Rooms inside ``training``."""

FLOOR_FACES = ("COFGeneratorLib", "COFTrainingLib")
MODULE = re.compile(r"COF(?:Generator|Training)Lib(?:\.\w+)+")


class Import(NamedTuple):
    """One arrow: a file, and the module that it names."""

    file: str
    module: str


def module_of(path: Path, root: Path = ROOT) -> str:
    """Return the dotted name of a file of the product."""
    parts = list(path.relative_to(root).with_suffix("").parts[1:])
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def product(root: Path = ROOT) -> dict[str, Path]:
    """Return module → file for both floors."""
    return {module_of(path, root): path for floor in FLOORS for path in sorted((root / floor).rglob("*.py"))}


def imports_of(path: Path, known: dict[str, Path]) -> set[str]:
    """Return the modules of the product that a file imports anywhere in it.

    Read are import statements (the file that defines the name, where ``from package import module`` names a module),
    also under ``TYPE_CHECKING``, and strings that are a module's dotted name, whole: what ``import_module`` is given.
    """
    return imports_in(path.read_text("utf-8"), known)


def imports_in(source: str, known: dict[str, Path]) -> set[str]:
    """Return what some lines import, see ``imports_of``."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module in FLOOR_FACES:
            handed = names_handed_on(known[node.module]) if node.module in known else {}
            found |= {handed.get(alias.name, f"{node.module}.{alias.name}") for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (names & known.keys()) or {node.module}
            found |= {node.module} if names - known.keys() else set()
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and MODULE.fullmatch(node.value):
            found.add(_longest_known(node.value, known))
        elif isinstance(node, ast.JoinedStr):  # f"COFTrainingLib.commands.{name}" names the room
            start = node.values[0].value if node.values and isinstance(node.values[0], ast.Constant) else ""
            if MODULE.match(str(start)):
                found.add(_longest_known(str(start).rstrip("."), known))
    return {module for module in found if module in known} - {""}


@functools.cache
def names_handed_on(face: Path) -> dict[str, str]:
    """Return name → module of a face's table (``lazy.public``): who takes the name stands on that module."""
    tables = [node for node in ast.walk(ast.parse(face.read_text("utf-8"))) if isinstance(node, ast.Dict)]
    pairs = [(key, value) for table in tables for key, value in zip(table.keys, table.values, strict=True)]
    return {
        name: key.value
        for key, value in pairs
        if isinstance(key, ast.Constant) and isinstance(value, ast.Constant)
        for name in value.value.split()
    }


def _longest_known(name: str, known: dict[str, Path]) -> str:
    """Return the module that a dotted name begins with: ``package.module.attribute`` names ``package.module``."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name


@functools.cache
def graph(root: Path = ROOT) -> dict[str, set[str]]:
    """Return module → modules that it imports; a floor's own face hands names on when they are used and has none."""
    known = product(root)
    return {module: imports_of(path, known) - {module} if "." in module else set() for module, path in known.items()}


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of two or more modules that import each other in a loop (Tarjan's components)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        order[module] = lowest[module] = len(order)
        stack.append(module)
        for other in arrows.get(module, ()):
            if other not in order:
                visit(other)
                lowest[module] = min(lowest[module], lowest[other])
            elif other in stack:
                lowest[module] = min(lowest[module], order[other])
        if lowest[module] == order[module]:
            start = stack.index(module)
            if len(group := stack[start:]) > 1:
                found.append(sorted(group))
            del stack[start:]

    for module in arrows:
        if module not in order:
            visit(module)
    return found


def arrows_up(arrows: dict[str, set[str]], package: str, rooms: tuple[tuple[str, ...], ...]) -> list[Import]:
    """Return the imports inside a package that run from a room to a higher one, or to another of its own line.

    The package's own face (its ``__init__``) hands names on and stands outside.
    """
    level = {room: place for place, line in enumerate(rooms) for room in line}
    found = []
    for module, others in sorted(arrows.items()):
        here = room_of(module, package)
        for other in sorted(others):
            there = room_of(other, package)
            if here and there and here != there and level[there] >= level[here]:
                found.append(Import(module, other))
    return found


def room_of(module: str, package: str) -> str:
    """Return the room of a module in a package; empty for the package's face and for what lies elsewhere."""
    if not module.startswith(f"{package}."):
        return ""
    room = module.removeprefix(f"{package}.").split(".")[0]
    return "" if room == "__main__" else room
