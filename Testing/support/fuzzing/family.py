"""What a family of inputs is: sound files, a way to damage them, and who reads them."""

import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from COFGeneratorLib.errors import ChainOfFlowError

from support.mutations import mutate_image

Damage = Callable[[bytes, random.Random], bytes]
Read = Callable[[Path, int], object]
BYTES_ALONE = 0.15
"""Share of the inputs whose bytes are damaged whatever they mean."""


@dataclass(frozen=True)
class Family:
    """Inputs of one kind.

    Attributes:
        name: Of the family.
        make: Writes sound inputs into a folder and returns them: files, or folders of files.
        damage: Damages the bytes of one file; by the pattern of its name where there are several kinds.
        read: Reads an input (path, number); the number chooses between ways of reading.
        refusal: What may be raised.
        endings: Of real files in a folder of data that belong to it.
        one_file: Whether the files of a folder are damaged one at a time, or each with a chance.
    """

    name: str
    make: Callable[[Path], Sequence[Path]]
    damage: Damage | dict[str, Damage]
    read: Read
    refusal: type[ChainOfFlowError]
    endings: tuple[str, ...] = ()
    one_file: bool = True

    def damaged(self, source: Path, folder: Path, number: int) -> Path:
        """Write the damaged input of a number into an empty folder and return it."""
        dice = random.Random(f"{self.name} {number}")
        target = folder / source.name
        if source.is_dir():
            shutil.copytree(source, target)
            files = sorted(path for path in target.rglob("*") if path.is_file() and self._kind(path) is not None)
            chosen = [dice.choice(files)] if self.one_file else [file for file in files if dice.random() < 0.3]
        else:
            shutil.copy(source, target)
            chosen = [target]
            for beside in _beside(source):
                shutil.copy(beside, folder)
        for file in chosen:
            kind = self._kind(file)
            damage = mutate_image if kind is None or dice.random() < BYTES_ALONE else kind
            file.write_bytes(damage(file.read_bytes(), dice))
        return target

    def _kind(self, path: Path) -> Damage | None:
        if not isinstance(self.damage, dict):
            return self.damage
        return next((damage for pattern, damage in self.damage.items() if path.match(pattern)), None)


def _beside(path: Path) -> list[Path]:
    """Return the samples that lie beside a header."""
    if path.suffix != ".hea":
        return []
    return [other for ending in (".dat", ".mat") if (other := path.with_suffix(ending)).is_file()]
