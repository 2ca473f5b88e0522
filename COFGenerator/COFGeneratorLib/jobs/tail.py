"""Reading files that another process is still writing."""

import codecs
from pathlib import Path
from typing import Any

from COFGeneratorLib.jobs.events import MALFORMED, checked_event
from COFGeneratorLib.jobs.folder import open_regular

MAX_CHUNK_BYTES = 1 << 20
"""At most this much is read at once, so that a flood of output does not stall whoever looks."""


class TextTail:
    """Gives what was added since the last look to a text file that may not exist yet, as UTF-8 whatever its bytes."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def read(self) -> str:
        """Return the new text, at most about 1 MiB of it."""
        try:
            with open_regular(self._path) as stream:
                if stream.seek(0, 2) < self._offset:  # written anew, as the log of a resumed run is
                    self._offset = 0
                stream.seek(self._offset)
                data = stream.read(MAX_CHUNK_BYTES)
        except OSError:
            return ""
        self._offset += len(data)
        return self._decoder.decode(data)


class EventTail:
    """Gives the complete events that were added to ``events.jsonl`` since the last look."""

    def __init__(self, path: Path) -> None:
        self._text, self._rest, self._too_long = TextTail(path), "", False

    def read(self) -> list[dict[str, Any]]:
        """Return new events, see ``checked_event``; a line longer than a chunk is malformed and not kept."""
        *lines, self._rest = (self._rest + self._text.read()).split("\n")
        events = [checked_event(line) for line in lines if line.strip()]
        if self._too_long and lines:
            events[:1] = []  # the end of what was told below
            self._too_long = False
        if len(self._rest) > MAX_CHUNK_BYTES:
            self._rest = ""
            if not self._too_long:
                events.append({"event": MALFORMED, "text": "a line without end"})
            self._too_long = True
        return events


def without_rewrites(text: str) -> str:
    """Return text as a terminal would show it after carriage returns: only the last state of each line."""
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
