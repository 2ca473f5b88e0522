"""Arguments that several sub-commands share, and the checks of single values."""

import argparse
import re

from COFGeneratorLib.anatomy.stack import LABELS

SOLVERS = ("euler", "heun")
"""The sampler's own list; it cannot be asked here, because that would load torch for ``--help``."""

DEVICES = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


def positive(text: str) -> int:
    """Parse a whole number of at least 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1; found {text!r}")
    return int(text)


def natural(text: str) -> int:
    """Parse a whole number of at least 0."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0; found {text!r}")
    return int(text)


def frame_count(text: str) -> int:
    """Parse a number of frames: at least 4, or there is no curve."""
    if positive(text) < 4:
        raise argparse.ArgumentTypeError(f"expected at least 4 frames; found {text}")
    return int(text)


def device(text: str) -> str:
    """Parse a device name."""
    if not DEVICES.fullmatch(text):
        raise argparse.ArgumentTypeError(f"expected auto, cpu, mps, cuda or cuda:N; found {text!r}")
    return text


def label_map(text: str) -> dict[str, int]:
    """Parse ``lv=3,myo=2,rv=1``."""
    codes: dict[str, int] = {}
    for part in text.split(","):
        name, _, code = (piece.strip() for piece in part.partition("="))
        if name not in LABELS or not code.isdigit() or name in codes:
            raise argparse.ArgumentTypeError(
                f"expected codes as in lv=3,myo=2,rv=1 (names {', '.join(LABELS)}, each once); found {text!r}"
            )
        codes[name] = int(code)
    return codes


def beat(text: str) -> int | float:
    """Parse ``3`` (the beat's index, a whole number) or ``4.2s`` (a time within it, s, returned as float)."""
    if text.isdigit():
        return int(text)
    found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(s|ms)", text.strip())
    if not found:
        raise argparse.ArgumentTypeError(
            f"expected a beat's index, as 3, or a time in the record, as 4.2s; found {text!r}"
        )
    return float(found.group(1)) * (1e-3 if found.group(2) == "ms" else 1.0)


def phase(text: str) -> float | str:
    """Parse a fraction of the R–R interval, from 0 to below 1, or ``cine``: where the chosen frame lies in its cine."""
    if text == "cine":
        return text
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < 1.0:
        raise argparse.ArgumentTypeError(
            f"expected a fraction of the R–R interval from 0 to below 1, or the word cine; found {text!r}"
        )
    return value


def seconds(text: str) -> float:
    """Parse a time in a record, s."""
    return float(beat(f"{text.removesuffix('s')}s"))


def bounds(text: str) -> tuple[float, ...]:
    """Parse ``xmin,xmax,ymin,ymax,zmin,zmax`` (also separated by spaces), RAS mm.

    Whether they make a box is checked where it is used.
    """
    try:
        values = tuple(float(word) for word in re.split(r"[,;\s]+", text.strip()))
    except ValueError:
        values = ()
    if len(values) != 6:
        raise argparse.ArgumentTypeError(
            f"expected six numbers in RAS mm, xmin xmax ymin ymax zmin zmax; found {text!r}"
        )
    return values


class RoiAction(argparse.Action):
    """Take six words, or one with six numbers in it (``--roi=-90,10,-40,60,-50,70``)."""

    def __call__(self, parser, namespace, values, option_string=None):
        """Store the bounds as a tuple of six."""
        try:
            setattr(namespace, self.dest, bounds(" ".join(values)))
        except argparse.ArgumentTypeError as error:
            parser.error(f"argument --roi: {error}")


def add_beat(parser: argparse.ArgumentParser) -> None:
    """Add which beat of the ECG is meant."""
    parser.add_argument(
        "--beat", type=beat, metavar="N|TIME", help="R–R to use: index of its R peak, as 3, or a time in it, as 4.2s "
        "(default: the one that stands best for all)",
    )  # fmt: skip


def add_roi(parser: argparse.ArgumentParser) -> None:
    """Add where the heart is."""
    parser.add_argument(
        "--roi", nargs="+", action=RoiAction, metavar="MM", help="box that holds the heart, RAS mm: XMIN XMAX YMIN "
        "YMAX ZMIN ZMAX (default: found automatically)",
    )  # fmt: skip


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add where results and events go."""
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the result")
    parser.add_argument("--overwrite", action="store_true", help="allow a folder that holds other files")
    parser.add_argument("--events", metavar="FILE", help="write progress as JSON lines for a program that watches")
    parser.add_argument("--quiet", action="store_true", help="print errors only")


def add_generation(parser: argparse.ArgumentParser) -> None:
    """Add how to generate."""
    parser.add_argument("--model", metavar="BUNDLE", help="model bundle folder (default: the one that ships)")
    parser.add_argument("--frames", type=frame_count, default=50, help="frames of one R–R interval (default 50)")
    parser.add_argument("--solver", choices=SOLVERS, help="solver of the flow, for --samples (default: the bundle's)")
    parser.add_argument("--steps", type=positive, help="steps of the solver, for --samples (default: the bundle's)")
    parser.add_argument("--samples", type=positive, default=1, metavar="K", help="draws, for intervals (default 1)")
    parser.add_argument("--seed", type=natural, default=0, help="seed of the draws (default 0)")
    parser.add_argument(
        "--labels-as-given",
        action="store_true",
        help="do not let the segmenter add a wall and a right ventricle that the labels given lack",
    )
    parser.add_argument("--device", type=device, default="auto", help="auto, cpu, cuda:N or mps (default auto)")
