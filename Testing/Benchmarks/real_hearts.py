"""Measure the product on real hearts that it never met in training.

    python Testing/Benchmarks/real_hearts.py --cases FILE [FILE …] --json out/real_hearts.json

``--cases`` are lists of objects: ``name``, ``image``, ``label_map`` ({"lv": 3, "myo": 2, "rv": 1}; ``rv`` may be
missing), ``ed`` and perhaps ``es``, each with ``labels`` and perhaps ``frame``; hearts without labels at ED are left
out. Paths are relative to that file. The exit code is 1 where a bar falls short, 2 where the cases cannot be read.

Each section is one file of ``real_hearts_sections`` with ``NAME``, ``BARS`` and ``measure(cases, options)``, which
returns figures (JSON values) and the bars that fell short (sentences).
"""

import argparse
import importlib.util
import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "COFGenerator"), str(ROOT / "COFTraining")]

SECTIONS = Path(__file__).with_name("real_hearts_sections")


def load_sections(names: list[str] | None = None) -> dict:
    """Return the section modules by name, in the order of their file names."""
    sections = {}
    for path in sorted(SECTIONS.glob("[!_]*.py")):
        spec = importlib.util.spec_from_file_location(f"real_hearts_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        if hasattr(module, "measure") and (not names or module.NAME in names):
            sections[module.NAME] = module
    return sections


def read_cases(path: Path) -> list[dict]:
    """Return the cases that have labels at ED, with absolute paths; a phase without labels is left out."""
    cases = json.loads(path.read_text(encoding="utf-8"))
    cases = [case for case in cases if "labels" in case["ed"]]
    for case in cases:
        case["image"] = path.parent / case["image"]
        for phase in ("ed", "es"):
            if "labels" not in case.get(phase, {}):
                case.pop(phase, None)
            else:
                case[phase]["labels"] = path.parent / case[phase]["labels"]
                case[phase].setdefault("frame", 0)
    return cases


def main(arguments: list[str] | None = None) -> int:
    """Run the sections; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=Path, required=True, nargs="+", help="lists of cases, see the docstring")
    parser.add_argument("--json", type=Path, help="where to write all figures")
    parser.add_argument("--sections", nargs="*", help="run these only")
    parser.add_argument("--segmenter", type=Path, help="segmenter folder; by default the shipped one")
    parser.add_argument("--model", type=Path, help="bundle; by default the shipped one")
    parser.add_argument("--assessor", type=Path, help="assessor folder; by default the shipped one, if there is one")
    parser.add_argument("--figures", type=Path, help="folder for contact sheets")
    options = parser.parse_args(arguments)
    try:
        cases = [case for path in options.cases for case in read_cases(path)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        names = ", ".join(str(path) for path in options.cases)
        print(f"A list of cases was expected in {names}; found: {error}. See --help for its form.")
        return 2
    report, failures = {}, []
    for name, section in load_sections(options.sections).items():
        start = time.perf_counter()
        print(f"\n== {name} ==")
        figures, short = section.measure(cases, options)
        wall_s = round(time.perf_counter() - start, 1)
        report[name] = {"bars": section.BARS, **figures, "short": short, "wall_s": wall_s}
        failures += [f"{name}: {line}" for line in short]
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=1), encoding="utf-8")
    print("\n" + ("\n".join(["Bars that fell short:", *failures]) if failures else "All bars are met."))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
