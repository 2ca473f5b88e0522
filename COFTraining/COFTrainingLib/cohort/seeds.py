"""Which drawn patients a network has met, told by the random streams that they were drawn from.

A phantom is drawn from streams of (seed, number): subject n of a tissue cache from (seed, n), subject s of a phantom
cohort from (s, 1), (s, 2) … NumPy makes no difference between the stream of s and that of (s, 0), so whole blocks of
such pairs are compared, whatever drew them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

STREAMS_OF_A_SUBJECT = 15
"""A subject of a phantom cohort owns the streams (seed, 0) … (seed, 15): body, anatomy, stack, ECG, some to come."""


@dataclass(frozen=True)
class SeedBlock:
    """Streams (seed, number) with both in a range, ends included.

    Args:
        what: Who was drawn from them, for messages.
        seeds, numbers: First and last.
    """

    what: str
    seeds: tuple[int, int]
    numbers: tuple[int, int]

    def meets(self, other: "SeedBlock") -> bool:
        """Return whether a stream lies in both."""
        pairs = ((self.seeds, other.seeds), (self.numbers, other.numbers))
        return all(mine[0] <= theirs[1] and theirs[0] <= mine[1] for mine, theirs in pairs)

    def __str__(self) -> str:
        first, last = self.seeds
        if first == last:
            return f"{self.what}: seed {first}, subjects {self.numbers[0]}…{self.numbers[1]}"
        return f"{self.what}: seeds {first}…{last}"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"what": self.what, "seeds": list(self.seeds), "numbers": list(self.numbers)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "SeedBlock":
        """Return the block stored by ``to_json``.

        Raises:
            KeyError, TypeError, ValueError: If it is none.
        """
        (a, b), (c, d) = values["seeds"], values["numbers"]
        return cls(str(values["what"]), (int(a), int(b)), (int(c), int(d)))


def numbered_subjects(what: str, seed: int, count: int) -> SeedBlock:
    """Return the streams of ``count`` subjects that one seed numbers: tissue caches, cohorts of ECGs."""
    return SeedBlock(what, (seed, seed), (0, max(count - 1, 0)))


def seeded_subjects(what: str, first_seed: int, count: int) -> SeedBlock:
    """Return the streams of ``count`` subjects that have a seed each: phantom cohorts, examples of motion."""
    return SeedBlock(what, (first_seed, first_seed + max(count - 1, 0)), (0, STREAMS_OF_A_SUBJECT))


def shared(ours: Iterable[SeedBlock], theirs: Iterable[SeedBlock]) -> list[tuple[SeedBlock, SeedBlock]]:
    """Return the pairs of blocks that have a stream in common."""
    theirs = list(theirs)
    return [(mine, other) for mine in ours for other in theirs if mine.meets(other)]


HELD_OUT_SEED_OFFSET, RECORD_SEED_OFFSET = 1_000_000, 2_000_000
