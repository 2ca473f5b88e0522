"""Keeps the file lists of the modules' CMakeLists.txt equal to the files of the tree.

    python Testing/static/cmake_lists.py            say what differs, exit 1 if anything does
    python Testing/static/cmake_lists.py --write    rewrite the lists

Slicer ships only files that are listed by hand; a file that is forgotten is missing from the installed extension only.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("COFGenerator", "COFTraining")
NOT_SHIPPED = {"CMakeLists.txt"}


def files_of(module: str) -> tuple[list[str], list[str]]:
    """Return scripts and resources of a module, relative to its folder, sorted."""
    folder = ROOT / module
    try:
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "."],
            cwd=folder,
            capture_output=True,
            encoding="utf-8",
            check=True,
        ).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):  # an unpacked archive has no git
        walked = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
        listed = [path.as_posix() for path in walked if "__pycache__" not in path.parts]
    present = sorted(
        {name for name in listed if (folder / name).is_file()} - NOT_SHIPPED, key=lambda name: (name.count("/"), name)
    )
    scripts = [name for name in present if name.endswith(".py")]
    return scripts, [name for name in present if not name.endswith(".py")]


def lists_in(text: str) -> tuple[list[str], list[str]]:
    """Return scripts and resources that a CMakeLists.txt lists, with ``${MODULE_NAME}`` resolved."""
    module = re.search(r"set\(MODULE_NAME (\w+)\)", text).group(1)
    found = []
    for variable in ("MODULE_PYTHON_SCRIPTS", "MODULE_PYTHON_RESOURCES"):
        body = re.search(rf"set\({variable}\n(.*?)\n?  \)", text, re.DOTALL).group(1)
        found.append([line.strip().replace("${MODULE_NAME}", module) for line in body.splitlines() if line.strip()])
    return tuple(found)


def with_lists(text: str, scripts: list[str], resources: list[str]) -> str:
    """Return a CMakeLists.txt with other lists."""
    for variable, names in (("MODULE_PYTHON_SCRIPTS", scripts), ("MODULE_PYTHON_RESOURCES", resources)):
        body = "".join(f"  {name}\n" for name in names)
        text = re.sub(rf"(set\({variable}\n)(?:.*?\n)??(  \))", rf"\g<1>{body}\g<2>", text, count=1, flags=re.DOTALL)
    return text


def main() -> int:
    """Check or rewrite."""
    parser = argparse.ArgumentParser(description="Compare the CMake file lists with the files of the tree.")
    parser.add_argument("--write", action="store_true", help="rewrite the lists")
    write = parser.parse_args().write
    differ = False
    for module in MODULES:
        path = ROOT / module / "CMakeLists.txt"
        text, wanted = path.read_text("utf-8"), files_of(module)
        if lists_in(text) != wanted:
            differ = True
            if write:
                path.write_text(with_lists(text, *wanted), encoding="utf-8")
            for kind, listed, present in zip(("scripts", "resources"), lists_in(text), wanted, strict=True):
                for name in sorted(set(present) - set(listed)):
                    sys.stdout.write(f"{module} {kind}: + {name}\n")
                for name in sorted(set(listed) - set(present)):
                    sys.stdout.write(f"{module} {kind}: - {name}\n")
    return int(differ and not write)


if __name__ == "__main__":
    sys.exit(main())
