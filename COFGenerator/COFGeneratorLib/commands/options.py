"""Arguments that several sub-commands share, and the checks of single values."""

import argparse
import functools
from collections.abc import Callable
from typing import Any, TypeVar

from COFGeneratorLib.cases import values
from COFGeneratorLib.results.parts import PARTS

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
beat, seconds, spacing = told(values.beat), told(values.seconds), told(values.spacing)
parts = told(values.parts)
percent, systole_ms, beats_per_minute = told(values.percent), told(values.systole_ms), told(values.beats_per_minute)
lead_names, rate_hz, voltage = told(values.lead_names), told(values.rate_hz), told(values.voltage)


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


def add_ecg_told(parser: argparse._ActionsContainer) -> None:
    """Add what an ECG file may leave open."""
    parser.add_argument(
        "--leads", type=lead_names, default=(), metavar="NAMES", help="leads in the order of the file, as "
        "I,II,III,…, for arrays and tables without names or where the file names them wrongly; --leads=-I,… turns over",
    )  # fmt: skip
    parser.add_argument("--rate-hz", type=rate_hz, metavar="HZ", help="sampling rate, where the file states none")
    parser.add_argument("--unit", type=voltage, help="unit of the samples (mV, uV, V, nV), where the file states none")


def add_image(parser: argparse._ActionsContainer) -> None:
    """Add what is meant of an image, and what its file has lost."""
    parser.add_argument(
        "--series", metavar="N|UID|TEXT", help="series of a DICOM study: its number, UID or (part of its) description "
        "(default: the short-axis cine that covers the most)",
    )  # fmt: skip
    parser.add_argument(
        "--spacing", type=spacing, metavar="MM", help="columns, rows and slices, as 1.4,1.4,8, of a file that has lost "
        "its spacing",
    )  # fmt: skip


def add_roi(parser: argparse.ArgumentParser) -> None:
    """Add where the heart is."""
    parser.add_argument(
        "--roi", nargs="+", action=RoiAction, metavar="MM", help="box that holds the heart, RAS mm: XMIN XMAX YMIN "
        "YMAX ZMIN ZMAX (default: found automatically)",
    )  # fmt: skip


def add_parts(parser: argparse._ActionsContainer, default: tuple[str, ...]) -> None:
    """Add which parts of the result are written."""
    parser.add_argument(
        "--write", type=parts, default=default, metavar="PARTS",
        help=f"what to write, out of {','.join(PARTS)} (default {','.join(default)})",
    )  # fmt: skip


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add where results and events go."""
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the result")
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace a result of other files or settings, and allow a folder that holds other files",
    )
    add_reporting(parser)


def add_reporting(parser: argparse.ArgumentParser, as_json: bool = True) -> None:
    """Add what a watching program and the terminal are told; ``as_json``: whether ``--json`` is among it."""
    if as_json:
        parser.add_argument("--json", action="store_true", help="print what came out as JSON in place of words")
    parser.add_argument("--events", metavar="FILE", help="write progress as JSON lines for a program that watches")
    parser.add_argument("--quiet", action="store_true", help="print errors only")


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add how many processes share the work."""
    parser.add_argument("--workers", type=positive, default=1, metavar="N", help="processes (default 1)")


def add_generation(parser: argparse.ArgumentParser) -> None:
    """Add how to generate."""
    add_ecg_told(parser)
    parser.add_argument("--model", metavar="BUNDLE", help="model bundle folder (default: the one that ships)")
    parser.add_argument(
        "--encoder", metavar="FILE",
        help="weights of the ECG encoder of others that the model names (default: looked for among the models)",
    )  # fmt: skip
    parser.add_argument("--frames", type=frame_count, default=50, help="frames of one R–R interval (default 50)")
    parser.add_argument(
        "--solver", choices=values.SOLVERS, help="solver of the flow, for draws (default: the bundle's)"
    )
    parser.add_argument("--steps", type=positive, help="steps of the solver, for draws (default: the bundle's)")
    parser.add_argument("--samples", type=positive, default=1, metavar="K", help="draws, for intervals (default 1)")
    parser.add_argument("--seed", type=natural, default=0, help="seed of the draws (default 0)")
    parser.add_argument(
        "--draw", action=argparse.BooleanOptionalAction, default=None,
        help="write a random draw, that of --seed, in place of the expected cine (default: as the bundle says)",
    )  # fmt: skip
    known = parser.add_argument_group("what is known of the heart", "Told to the model beside the ECG; it wins.")
    known.add_argument("--ef", dest="ef_percent", type=percent, metavar="PERCENT", help="ejection fraction of the LV")
    known.add_argument("--rvef", dest="rvef_percent", type=percent, metavar="PERCENT", help="that of the RV")
    known.add_argument("--es", dest="es_ms", type=systole_ms, metavar="MS", help="end-systole from the R wave")
    known.add_argument("--hr", dest="hr_bpm", type=beats_per_minute, metavar="BPM", help="heart rate of the cine")
    parser.add_argument(
        "--labels-as-given",
        action="store_true",
        help="do not let the segmenter add a wall and a right ventricle that the labels given lack",
    )
    parser.add_argument("--device", type=device, default="auto", help="auto, cpu, cuda:N or mps (default auto)")
