"""The public names of a room, imported on first use, so that importing the room costs nothing."""

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any


def public(room: str, names: dict[str, str]) -> tuple[Callable[[str], Any], list[str]]:
    """Return what the face of a room needs: its ``__getattr__`` and its ``__all__``; ``dir`` then shows the latter.

    Args:
        room: ``__name__`` of the face.
        names: By module, the names that it gives, with spaces between them.
    """
    module_of = {name: module for module, given in names.items() for name in given.split()}

    def of_room(name: str) -> Any:
        if name in module_of:
            return getattr(import_module(module_of[name]), name)
        raise AttributeError(f"module {room!r} has no attribute {name!r}")

    face = vars(sys.modules[room])
    face["__dir__"] = lambda: sorted(face.get("__all__", module_of))
    return of_room, list(module_of)
