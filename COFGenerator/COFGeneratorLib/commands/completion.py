"""``cof completion``: a script by which bash or zsh completes commands, options and their choices."""

import argparse
from collections.abc import Iterator

from COFGeneratorLib.commands import Commands

HEAD = {"bash": "", "zsh": "autoload -U +X bashcompinit && bashcompinit\n"}
"""What a shell needs before the script, which is bash's: zsh takes it by its own emulation."""

SCRIPT = """\
# Made by: cof completion {shell}
_cof() {{
  local cur="${{COMP_WORDS[COMP_CWORD]}}" prev="${{COMP_WORDS[COMP_CWORD-1]}}" path="" word i
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="${{COMP_WORDS[i]}}"
    case "$path $word" in
      {paths}) path="$path $word" ;;
    esac
  done
  local offered="" values=""
  case "$path" in
{offers}
  esac
  case "$path $prev" in
{choices}
  esac
  if [[ -n "$values" ]]; then
    COMPREPLY=($(compgen -W "$values" -- "$cur"))
  elif [[ "$cur" == -* || "$offered" != -* ]]; then
    COMPREPLY=($(compgen -W "$offered" -- "$cur"))
  else
    COMPREPLY=($(compgen -f -- "$cur"))
  fi
}}
complete -o filenames -F _cof cof
"""


def add(commands: Commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "completion",
        help="print a script that lets bash or zsh complete cof",
        description="Print a script by which a shell completes commands, options and their choices. For good: put the "
        'line eval "$(cof completion bash)", or zsh in place of bash, into ~/.bashrc or ~/.zshrc.',
        epilog="example: cof completion bash",
    )
    parser.add_argument("shell", choices=tuple(HEAD), help="the shell")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the script; returns the exit code. ``arguments.whole_parser`` returns the parser of all commands."""
    print(script(arguments.shell, arguments.whole_parser()), end="")
    return 0


def script(shell: str, parser: argparse.ArgumentParser) -> str:
    """Return the script of a shell (``"bash"``, ``"zsh"``) for a parser and all below it."""
    found = dict(_walk(parser, ""))
    offers = [f'    "{path}") offered="{" ".join(_offered(one))}" ;;' for path, one in found.items()]
    choices = [
        f'    "{path} {name}") values="{" ".join(map(str, action.choices))}" ;;'
        for path, one in found.items() for action in one._actions for name in action.option_strings
        if action.choices is not None
    ]  # fmt: skip
    return HEAD[shell] + SCRIPT.format(
        shell=shell,
        paths="|".join(f'"{path}"' for path in found if path),
        offers="\n".join(offers),
        choices="\n".join(choices) or '    "") ;;',
    )


def _walk(parser: argparse.ArgumentParser, path: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield every parser with the words that lead to it, each after a space."""
    yield path, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from _walk(below, f"{path} {name}")


def _offered(parser: argparse.ArgumentParser) -> list[str]:
    """Return what can come next: sub-commands where there are any, else long options."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return list(action.choices)
    return [name for action in parser._actions for name in action.option_strings if name.startswith("--")]
