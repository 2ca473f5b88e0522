"""One guard around every reader: what a damaged or hostile file makes a library raise becomes a refusal."""

from collections.abc import Iterator
from contextlib import contextmanager

from COFGeneratorLib.errors import AnatomyError, ChainOfFlowError


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """Turn whatever else than our own errors is raised while a file is read into an AnatomyError.

    A missing permission or a full disk is no property of the file and passes.

    Raises:
        AnatomyError: In place of the foreign error, whose words may quote the file.
    """
    try:
        yield
    except (ChainOfFlowError, OSError):
        raise
    except Exception as error:
        raise AnatomyError(
            f"A file of this {what} should follow its format; reading failed ({type(error).__name__}). It is damaged "
            "or of a kind that is not read: copy or export it again."
        ) from error
