"""The sub-commands of ``cof``: one file each, with ``add`` (its arguments) and ``run`` (its work)."""

import argparse
from typing import Any, Protocol


class Commands(Protocol):
    """Where sub-commands, or verbs of one, are added; argparse gives this type no public name."""

    def add_parser(self, name: str, **options: Any) -> argparse.ArgumentParser:
        """Add one and return its parser."""
        ...
