"""Settings from files: tables of TOML or JSON applied to dataclasses, with every unknown key and wrong type refused."""

import difflib
import json
import tomllib
import types
import typing
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from COFGeneratorLib.errors import ChainOfFlowError, TrainingError

LARGEST_CHAIN = 8
"""Configurations that may rest on one another."""


def read_table(path: Path) -> dict[str, Any]:
    """Read a TOML or JSON file.

    Raises:
        TrainingError: If it does not read.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise TrainingError(f"Settings are read from a TOML or JSON file; {path} does not read ({error}).") from error
    if not isinstance(content, dict):
        raise TrainingError(f"Settings are a table of names and values; found a {type(content).__name__} in {path}.")
    return content


@dataclass(frozen=True)
class Shelf:
    """Named configurations: a folder of small files, each of which may rest on another (``base``).

    Args:
        folder: Where they are.
        default: Name of the one that a user's own file rests on where it names none.
        group: Sub-folder whose files are named with it, ``group/name``; empty for none.
    """

    folder: Path
    default: str
    group: str = ""

    def names(self) -> list[str]:
        """Return the names of the configurations of the folder itself, the default first."""
        return sorted((path.stem for path in self.folder.glob("*.toml")), key=lambda name: (name != self.default, name))

    def grouped(self) -> list[str]:
        """Return the names of those of the group."""
        files = (self.folder / self.group).glob("*.toml") if self.group else ()
        return sorted(f"{self.group}/{path.stem}" for path in files)

    def read(self, name: str, left: int = LARGEST_CHAIN) -> dict[str, Any]:
        """Return the tables of a configuration, or of a file, laid over those of its base.

        Raises:
            TrainingError: If there is none, or the bases run in a circle.
        """
        if left == 0:
            raise TrainingError(
                f"A configuration rests on another (base), and that at last on none; found more than {LARGEST_CHAIN} "
                f"in a row at {name!r}, most likely a circle. Correct the bases."
            )
        known = (*self.names(), *self.grouped())
        path = self.folder / f"{name}.toml" if name in known else Path(name)
        if not path.is_file():
            raise TrainingError(
                f"A configuration is one of {', '.join(known)}, or a TOML or JSON file; found {name!r}. Give one."
            )
        table = read_table(path)
        base = table.pop("base", None)
        if base is None:
            return table if self.folder in path.parents else merged(self.read(self.default, left - 1), table)
        if not isinstance(base, str):
            raise TrainingError(f"The base of a configuration is the name of another; found {base!r} in {path.name}.")
        return merged(self.read(base if base in known else str(path.parent / base), left - 1), table)


def merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return nested tables with those of ``above`` laid over those of ``below``."""
    out = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = merged(out[key], value) if both else value
    return out


def applied(settings: Any, table: dict[str, Any], where: str = "") -> Any:
    """Return a dataclass tree with the values of a table.

    Args:
        settings: A dataclass; what the table does not name stays.
        table: Values by field; a table for a field that is a dataclass; ``false`` for an optional one to be left out.
        where: Name of the settings, for messages.

    Raises:
        TrainingError: If a key is unknown or a value has the wrong type or cannot be.
    """
    known = [item.name for item in fields(settings)]
    hints = typing.get_type_hints(type(settings))
    values = {}
    for key, value in table.items():
        name = f"{where}.{key}" if where else key
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            hint = f"Did you mean {near[0]}?" if near else "Leave it out."
            raise TrainingError(f"Settings of {where or 'a stage'} are {', '.join(known)}; found {key!r}. {hint}")
        values[key] = _value(getattr(settings, key), value, hints[key], name)
    try:
        return replace(settings, **values)
    except ChainOfFlowError:
        raise
    except (TypeError, ValueError) as error:
        raise TrainingError(f"Settings of {where} must fit each other; found {error}. Correct them.") from error


def _value(old: Any, new: Any, hint: Any, name: str) -> Any:
    """Return one value in the type of its field."""
    optional = isinstance(hint, types.UnionType) and type(None) in typing.get_args(hint)
    if optional:
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
        if new is False or new is None:
            return None
    if isinstance(hint, type) and is_dataclass(hint):
        if not isinstance(new, dict):
            raise _wrong(name, "a table", new)
        return applied(hint() if old is None else old, new, name)
    kind = typing.get_origin(hint) or hint
    if kind is tuple:
        if not isinstance(new, list | tuple):
            raise _wrong(name, "a list", new)
        return tuple(tuple(item) if isinstance(item, list) else item for item in new)
    if kind is float and isinstance(new, int) and not isinstance(new, bool):
        return float(new)
    if not isinstance(new, kind) or (isinstance(new, bool) and kind is not bool):
        words = {int: "a whole number", float: "a number", str: "a word", bool: "true or false"}
        raise _wrong(name, words.get(kind, getattr(kind, "__name__", str(kind))), new)
    return new


def _wrong(name: str, expected: str, found: Any) -> TrainingError:
    return TrainingError(f"The setting {name} is {expected}; found {found!r}. Correct it.")
