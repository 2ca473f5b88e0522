"""What the folders of other people's models have in common."""

import json
from pathlib import Path
from typing import Any

from COFGeneratorLib.errors import AnatomyError


def read_table(folder: Path, name: str, model: str) -> dict[str, Any]:
    """Read a JSON table of a model's folder; ``model`` is the kind of model, for the message.

    Raises:
        AnatomyError: If the file does not read or holds something else.
    """
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("no table")
    except (OSError, ValueError) as error:
        raise AnatomyError(f"{model} needs {name}; it does not read ({error}). Copy it again.") from error
    return content
