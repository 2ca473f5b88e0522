"""What every generated cine says of its origin, whichever engine made it."""

import hashlib
from typing import Any

import numpy as np

from COFGeneratorLib.ecg.record import EcgRecord
from COFGeneratorLib.generator.bundle import Bundle
from COFGeneratorLib.machine import versions


def provenance(
    record: EcgRecord, bundle: Bundle, *, notice: str, seconds: dict[str, float], warnings: list[str], **facts: Any
) -> dict[str, Any]:
    """Return the facts of a generated cine, JSON-able.

    ``notice`` says what it must not be taken for, ``seconds`` the wall time by stage; ``facts`` are of engine and run.
    """
    return {
        "synthetic": True,
        "notice": notice,
        "model": bundle.model_id,
        "weights_sha256": bundle.weights_sha256,
        "ecg_sha256": record.source_sha256 or sha256_of_array(record.signal_mv),
        **facts,
        "versions": versions(),
        "seconds": {name: round(value, 4) for name, value in seconds.items()},
        "warnings": warnings,
    }


def sha256_of_array(values: np.ndarray) -> str:
    """Return the SHA-256 of an array's numbers, hexadecimal."""
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
