"""Writes ``api.md`` beside this file from the public names of ``COFGeneratorLib``, as their source says it.

python Resources/Docs/make_api.py           (or: make api)
python Resources/Docs/make_api.py --check   say whether the page is what this command makes; exit 1 if it is not
"""

import argparse
import ast
import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PAGE = HERE / "api.md"
FUNCTIONS = {"COFGeneratorLib": ("read_ecg", "analyse_ecg", "read_sax", "read_labels", "load_bundle", "generate")}
CLASSES = {
    "COFGeneratorLib.ecg": ("EcgRecord", "EcgCycle"),
    "COFGeneratorLib.anatomy": ("SaxStack", "Roi"),
    "COFGeneratorLib.generator": ("Bundle",),
    "COFGeneratorLib.cine": ("Cine",),
    "COFGeneratorLib.function": ("FunctionReport", "RegionalReport", "StrainReport"),
}
"""What the functions take and give back, by the room that it is imported from."""
ERRORS = "COFGeneratorLib.errors"
SECTIONS = ("Args", "Attributes", "Returns", "Raises", "Yields")
TOP = """# The Python interface

Made by `make api` from the docstrings; change those, not this page. It all runs without Slicer. Arrays are (D, H, W) =
(k, j, i), displacements are pull fields in mm, times are in ms from the R wave, volumes in mL.

"""


def main() -> int:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description="Write the page of the Python interface.")
    parser.add_argument("--check", action="store_true", help="only compare")
    page = made()
    if parser.parse_args().check:
        same = PAGE.is_file() and PAGE.read_text("utf-8") == page
        sys.stdout.write(f"{PAGE.name} is {'what' if same else 'not what'} make api writes\n")
        return int(not same)
    PAGE.write_text(page, encoding="utf-8")
    return 0


def made() -> str:
    """Return the page."""
    if str(HERE.parents[1] / "COFGenerator") not in sys.path:
        sys.path.insert(0, str(HERE.parents[1] / "COFGenerator"))
    parts = ["## Functions", f"All from `{next(iter(FUNCTIONS))}`.", *_each(FUNCTIONS, "")]
    parts += ["## What they take and give", *_each(CLASSES, "From `{module}`.")]
    parts += ["## Errors", f"From `{ERRORS}`. {_of_module(ERRORS)}", _errors()]
    return TOP + "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def _each(names: dict[str, tuple[str, ...]], origin: str) -> Iterator[str]:
    for module, members in names.items():
        for name in members:
            yield f"### {name}"
            yield origin.format(module=module)
            yield from _described(getattr(importlib.import_module(module), name))


def _described(item: Any) -> Iterator[str]:
    """Yield signature, words and, of a class, its public methods."""
    node = ast.parse(textwrap.dedent(inspect.getsource(item))).body[0]
    if isinstance(node, ast.FunctionDef):
        yield _code(_signature(node))
        yield _words(item)
        return
    assert isinstance(node, ast.ClassDef)
    fields = [_source(part) for part in node.body if isinstance(part, ast.AnnAssign)]
    yield _code(f"class {node.name}\n" + textwrap.indent("\n".join(fields), "    "))
    yield _words(item)
    members = [part for part in node.body if isinstance(part, ast.FunctionDef) and not part.name.startswith("_")]
    lines = []
    for member in members:
        plain = any(ast.unparse(one).endswith("property") for one in member.decorator_list)
        shown = f"{member.name}: {_source(member.returns)}" if plain and member.returns else _signature(member)
        first, _, rest = inspect.cleandoc(ast.get_docstring(member) or "").partition("\n\n")
        lines.append(_item(f"`{shown}`", first))
        lines += [textwrap.indent(block, "  ") for block in (_blocks(rest).split("\n\n") if rest else [])]
    yield "**Members**" if lines else ""
    yield "\n\n".join(lines) if any(line.startswith(" ") for line in lines) else "\n".join(lines)


def _signature(node: ast.FunctionDef) -> str:
    """Return ``name(arguments) -> result`` as written; one argument a line where it is long."""
    given = node.args
    places = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(places) - len(given.defaults)) + list(given.defaults)
    parts = [_argument(*pair) for pair in zip(places, defaults, strict=True) if pair[0].arg not in ("self", "cls")]
    if given.vararg or given.kwonlyargs:
        parts.append("*" + (_argument(given.vararg, None) if given.vararg else ""))
    parts += [_argument(*pair) for pair in zip(given.kwonlyargs, given.kw_defaults, strict=True)]
    parts += ["**" + _argument(given.kwarg, None)] if given.kwarg else []
    result = f" -> {_source(node.returns)}" if node.returns else ""
    line = f"{node.name}({', '.join(parts)}){result}"
    return line if len(line) <= 100 else f"{node.name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){result}"


def _argument(place: ast.arg, default: ast.expr | None) -> str:
    named = f"{place.arg}: {_source(place.annotation)}" if place.annotation else place.arg
    return named if default is None else f"{named} = {_source(default)}"


def _source(node: ast.AST) -> str:
    """Return an expression with the double quotes that the source has."""
    return ast.unparse(node).replace("'", '"')


def _code(text: str) -> str:
    return f"```python\n{text.rstrip()}\n```"


def _words(item: Any) -> str:
    return _blocks(inspect.getdoc(item) or "")


def _of_module(name: str) -> str:
    return _plain(" ".join((importlib.import_module(name).__doc__ or "").split("\n\n", 1)[-1].split()))


def _errors() -> str:
    members = vars(importlib.import_module(ERRORS)).values()
    kinds = [kind for kind in members if isinstance(kind, type) and kind.__module__ == ERRORS]
    return "\n".join(
        _item(f"`{kind.__name__}({kind.__bases__[0].__name__})`", inspect.getdoc(kind) or "") for kind in kinds
    )


def _blocks(text: str) -> str:
    """Return a docstring as Markdown: its sections as lists, verbatim blocks as code."""
    out = []
    for block in text.split("\n\n"):
        head, _, body = block.partition("\n")
        if head == "Example:":
            out += [f"**{head.rstrip(':')}**", _code(textwrap.dedent(body))]
        elif head.rstrip(":") in SECTIONS and head.endswith(":"):
            out += [f"**{head.rstrip(':')}**", _listed(textwrap.dedent(body))]
        elif block.startswith("    "):
            out.append(_code(textwrap.dedent(block)))
        else:
            out.append(_plain(" ".join(block.split())))
    return "\n\n".join(out)


def _listed(body: str) -> str:
    """Return the entries of a section: what hangs under a line belongs to it."""
    entries = re.split(r"\n(?=\S)", body)
    named = [re.match(r"([\w*., ]+?): (.*)", " ".join(entry.split())) for entry in entries]
    if not all(named):
        return _plain(" ".join(body.split()))
    return "\n".join(_item(f"`{match.group(1)}`", match.group(2)) for match in named if match)


def _item(head: str, text: str) -> str:
    return f"- {head}: {_plain(' '.join(text.split()))}" if text else f"- {head}"


def _plain(text: str) -> str:
    return text.replace("``", "`")


if __name__ == "__main__":
    sys.exit(main())
