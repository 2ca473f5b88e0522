"""Results on disk: complete or not at all, and with the facts that make them repeatable."""

from COFGeneratorLib.results.folder import ResultFolder
from COFGeneratorLib.results.writer import write_result

__all__ = ["ResultFolder", "write_result"]
