"""Arguments that several sub-commands share, and the checks of single values."""

import argparse
import functools
from collections.abc import Callable
from typing import Any, TypeVar

from COFGeneratorLib.cases import values

Value = TypeVar("Value")


def told(parse: Callable[[str], Value]) -> Callable[[str], Value]:
    """Return a parser of ``cases.values`` for ``type=``: argparse shows the words of no other kind of error."""

    @functools.wraps(parse)
    def parse_argument(text: str) -> Value:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse_argument


positive, natural, frame_count = told(values.positive), told(values.natural), told(values.frame_count)
device, label_map, phase = told(values.device), told(values.label_map), told(values.phase)
beat, seconds = told(values.beat), told(values.seconds)


class RoiAction(argparse.Action):
    """Take six words, or one with six numbers in it (``--roi=-90,10,-40,60,-50,70``)."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, words: Any, option_string: Any = None
    ) -> None:
        """Store the bounds as a tuple of six."""
        try:
            setattr(namespace, self.dest, values.bounds(" ".join(words)))
        except ValueError as error:
            parser.error(f"argument --roi: {error}")


def add_beat(parser: argparse._ActionsContainer) -> None:
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
    add_reporting(parser)


def add_reporting(parser: argparse.ArgumentParser) -> None:
    """Add what a watching program and the terminal are told."""
    parser.add_argument("--events", metavar="FILE", help="write progress as JSON lines for a program that watches")
    parser.add_argument("--quiet", action="store_true", help="print errors only")


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add how many processes share the work."""
    parser.add_argument("--workers", type=positive, default=1, metavar="N", help="processes (default 1)")


def add_generation(parser: argparse.ArgumentParser) -> None:
    """Add how to generate."""
    parser.add_argument("--model", metavar="BUNDLE", help="model bundle folder (default: the one that ships)")
    parser.add_argument("--frames", type=frame_count, default=50, help="frames of one R–R interval (default 50)")
    parser.add_argument(
        "--solver", choices=values.SOLVERS, help="solver of the flow, for --samples (default: the bundle's)"
    )
    parser.add_argument("--steps", type=positive, help="steps of the solver, for --samples (default: the bundle's)")
    parser.add_argument("--samples", type=positive, default=1, metavar="K", help="draws, for intervals (default 1)")
    parser.add_argument("--seed", type=natural, default=0, help="seed of the draws (default 0)")
    parser.add_argument(
        "--labels-as-given",
        action="store_true",
        help="do not let the segmenter add a wall and a right ventricle that the labels given lack",
    )
    parser.add_argument("--device", type=device, default="auto", help="auto, cpu, cuda:N or mps (default auto)")
