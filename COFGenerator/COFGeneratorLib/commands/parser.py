"""The parser of the command line: what is misspelt gets a suggestion."""

import argparse
import difflib
import re
from collections.abc import Sequence
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """An ``ArgumentParser`` that suggests the option or sub-command that was probably meant."""

    def __init__(self, *words: Any, **options: Any) -> None:
        super().__init__(*words, **options)
        self._given: list[str] = []

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as the base does; a parser without sub-commands refuses what it does not know, by name."""
        self._given = [str(word) for word in args or ()]
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown and not self._subcommands():
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return parsed, unknown

    def error(self, message: str) -> NoReturn:
        """Exit with code 2 and the usage, the message and what was probably meant."""
        chosen = re.search(r"invalid choice: '([^']*)'", message)
        meant = self._meant(chosen.group(1), self._subcommands()) if chosen else ""
        for word in self._given:
            name = word.split("=")[0]
            known = list(self._option_string_actions)
            if name.startswith("--") and not any(option.startswith(name) for option in known):
                meant += self._meant(name, known)
        super().error(message + meant)

    def _subcommands(self) -> list[str]:
        places = (action for action in self._actions if isinstance(action, argparse._SubParsersAction))
        return [name for place in places for name in place.choices]

    @staticmethod
    def _meant(word: str, known: Sequence[str]) -> str:
        """Return the known words nearest to a word as a question; empty where none is near."""
        near = difflib.get_close_matches(word, known, n=2, cutoff=0.6)
        return f". Did you mean {' or '.join(near)}?" if near else ""
