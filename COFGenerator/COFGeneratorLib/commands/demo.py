"""``cof demo``: the main job on the bundled synthetic patient."""

import argparse
from pathlib import Path

from COFGeneratorLib.anatomy.stack import LABELS
from COFGeneratorLib.cases.generate import generate_into
from COFGeneratorLib.cases.request import GenerateRequest
from COFGeneratorLib.commands import Commands, options
from COFGeneratorLib.commands.generate import describe
from COFGeneratorLib.figures.page import PAGE_FILE
from COFGeneratorLib.jobs.session import session
from COFGeneratorLib.resources import sample_patient
from COFGeneratorLib.results.parts import DEFAULT_PARTS


def add(commands: Commands) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "demo",
        help="generate a cine for the bundled synthetic patient",
        description="Run the main job on the synthetic patient that ships with the product.",
        epilog="example: cof demo --out heart",
    )
    options.add_generation(parser)
    options.add_parts(parser, DEFAULT_PARTS)
    options.add_output(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Generate and write; returns the exit code."""
    patient = sample_patient()
    request = GenerateRequest.of(
        arguments, anchor=str(patient.anchor), ecg=str(patient.ecg), labels=str(patient.labels), label_map=LABELS
    )
    with session(arguments) as current:
        cine = generate_into(request, current, command="demo", facts={"patient": "synthetic demo patient"})
        out = Path(arguments.out)
        describe(cine, out, current)
        current.say()
        scene = out / "scene.mrb"
        if scene.is_file():
            current.say(f"To see it beat in 3D Slicer: drag {scene} into its window, or start: Slicer {scene}")
            current.say("and press play in the Sequences toolbar.")
        current.say(f"In a browser: open {out / PAGE_FILE}, or: cof view {out}")
    return 0
