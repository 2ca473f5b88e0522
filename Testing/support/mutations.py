"""Seeded damage to files: what a fuzzer does, in a form whose finds can be replayed by number."""

import random

import numpy as np

INTERESTING = (0, 1, 0x7F, 0x80, 0xFF, 0xFE)
WORDS = (b"-1", b"99999999999", b"1e308", b"nan", b"", b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f")


def mutate(data: bytes, seed: int) -> bytes:
    """Return damaged bytes: flips, cuts, repeats, swapped blocks, odd numbers; mostly in the first kilobytes."""
    rng = np.random.default_rng([0xEC6, seed])
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        if not out:
            break
        # Headers decide more than samples: half of the damage goes to the first 4 kB.
        span = min(len(out), 4096) if rng.random() < 0.5 else len(out)
        at = int(rng.integers(0, span))
        kind = int(rng.integers(0, 8))
        if kind == 0:
            out[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            out[at] = INTERESTING[int(rng.integers(0, len(INTERESTING)))]
        elif kind == 2:
            del out[at : at + int(rng.integers(1, 200))]
        elif kind == 3:
            out[at:at] = out[at : at + int(rng.integers(1, 200))]
        elif kind == 4:
            del out[at:]
        elif kind == 5:
            word = WORDS[int(rng.integers(0, len(WORDS)))]
            out[at : at + len(word)] = word
        elif kind == 6:
            digits = [i for i in range(at, min(at + 400, len(out))) if 48 <= out[i] <= 57]
            if digits:
                place = digits[int(rng.integers(0, len(digits)))]
                out[place : place + 1] = WORDS[int(rng.integers(0, 4))]
        else:
            other, width = int(rng.integers(0, len(out))), int(rng.integers(1, 64))
            out[at : at + width] = out[other : other + width]
    return bytes(out)


PIECES = [
    b"\0", b"\xff", b"\x7f", b"\x80", b"0", b"9", b"-", b"\n", b" ", b"(", b")", b":", b"99999999", b"nan", b"inf",
    b"1e308", b"\xff\xff\xff\x7f", b"\0\0\0\x80", b"\xff\xff\xff\xff",
]  # fmt: skip


def mutate_image(content: bytes, dice: random.Random) -> bytes:
    """Flip, overwrite, insert, delete or cut, mostly in the header."""
    data = bytearray(content)
    for _ in range(dice.choice((1, 1, 2, 3, 8))):
        at = dice.randrange(min(len(data), dice.choice((200, 400, 1200, len(data)))))
        kind, piece, n = dice.randrange(6), dice.choice(PIECES), dice.randrange(1, 40)
        if kind == 0:
            data[at] ^= 1 << dice.randrange(8)
        elif kind == 1:
            data[at : at + 1] = piece
        elif kind == 2:
            data[at : at + len(piece)] = piece
        elif kind == 3:
            del data[at : at + n]
        elif kind == 4:
            data[at:at] = data[(other := dice.randrange(len(data))) : other + n]
        elif dice.random() < 0.3:
            del data[at:]
        data = data or bytearray(b"x")
    return bytes(data)
