"""Which split a person belongs to: by a hash of the identifier, so that nobody decides and nothing drifts."""

import hashlib
from dataclasses import dataclass

from COFGeneratorLib.errors import CohortError

SPLITS = ("train", "valid", "test")
SALT = "chainofflow-1"
"""The same in every cohort: a person who is in two of them falls into the same split of both."""


@dataclass(frozen=True)
class SplitRule:
    """Shares of the three splits.

    Args:
        train, valid, test: Shares; their sum is 1.
        salt: Joined to the identifier before hashing.

    Raises:
        CohortError: If the shares are not shares.
    """

    train: float = 0.8
    valid: float = 0.1
    test: float = 0.1
    salt: str = SALT

    def __post_init__(self) -> None:
        shares = (self.train, self.valid, self.test)
        if not (min(shares) >= 0 and abs(sum(shares) - 1.0) <= 1e-6):  # also of NaN
            raise CohortError(
                f"Shares of train, valid and test must be at least 0 and add up to 1; found {shares}. "
                "Give three numbers, e.g. 0.8,0.1,0.1."
            )

    def split_of(self, person: str) -> str:
        """Return ``"train"``, ``"valid"`` or ``"test"`` of a person, by SHA-256 of salt and identifier."""
        digest = hashlib.sha256(f"{self.salt}:{person}".encode()).hexdigest()
        place = int(digest[:13], 16) / 16**13
        if place < self.train:
            return "train"
        return "valid" if place < self.train + self.valid else "test"
