"""Saying things on whatever terminal there is: one that lacks characters, one that is closed, none at all."""

import codecs
import contextlib
import io
import os
import sys
import unicodedata

PLAIN = "cof-plain"
"""Name of the codecs' error handler that writes what a terminal lacks in plain letters."""
LOOKALIKES = {
    "–": "-", "—": "-", "−": "-", "…": "...", "’": "'", "‘": "'", "“": '"', "”": '"', "×": "x", "·": "*", "→": "->",
    "≤": "<=", "≥": ">=", "≈": "~", "±": "+-", "µ": "u", "μ": "u", "σ": "sigma", "τ": "tau", "√": "sqrt", "°": " deg",
    "✓": "ok", "Δ": "delta", "ß": "ss", "ø": "o", "æ": "ae",
}  # fmt: skip


def _plainly(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_plain(character) for character in error.object[error.start : error.end]), error.end


def _plain(character: str) -> str:
    """Return ASCII that says the same, ``?`` where there is none, as for bytes of a name that are no text."""
    if character in LOOKALIKES:
        return LOOKALIKES[character]
    return unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode() or "?"


def fit_for_any_terminal() -> None:
    """Let standard output and error write in plain letters what their encoding lacks, in place of failing."""
    codecs.register_error(PLAIN, _plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # neither absent nor a stand-in of whoever calls us
            stream.reconfigure(errors=PLAIN)


def silence() -> None:
    """Send what is still said nowhere, since nobody reads it: otherwise the interpreter complains when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
