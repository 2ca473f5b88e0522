"""Sets where the extension is published and by whom, and checks what Slicer's extensions index checks.

    python Resources/Docs/publish.py                              check alone
    python Resources/Docs/publish.py --repository URL --contributors "A. Name (Institute), B. Name (Institute)"

Exit code 1 where a check fails. ``--online`` also asks whether the addresses answer.
"""

import argparse
import json
import re
import struct
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAMED_IN = ("CMakeLists.txt", "README.md", "CITATION.cff", "pyproject.toml", "Resources/ChainOfFlow.json",
            "Resources/Docs/publishing.md")  # fmt: skip
"""Files that name the repository."""
MODULES = ("COFGenerator/COFGenerator.py", "COFTraining/COFTraining.py")
REPOSITORY = re.compile(r"https://github\.com/([\w.-]+)/(Slicer[\w-]+)")
CATEGORIES = ("Cardiac", "Image Synthesis", "Segmentation", "Sequences")
"""Of the index's closed list, those that fit."""
MAX_MB = 100
"""Files and history together; the index refuses what is larger."""
WAIT_S = 20.0


def main() -> int:
    """Set what is given, check everything, say it; returns the exit code."""
    parser = argparse.ArgumentParser(description="Prepare and check the extension's publication.")
    parser.add_argument("--repository", metavar="URL", help="address on GitHub; its name begins with Slicer")
    parser.add_argument("--contributors", metavar="NAMES", help="as 'A. Name (Institute), B. Name (Institute)'")
    parser.add_argument("--short-history", action="store_true", help="the size is that of the files and one commit")
    parser.add_argument("--online", action="store_true", help="ask whether the addresses answer")
    parser.add_argument("--root", type=Path, default=ROOT, help="the tree (default: this one)")
    arguments = parser.parse_args()
    if arguments.repository:
        set_repository(arguments.root, arguments.repository)
    if arguments.contributors:
        set_contributors(arguments.root, arguments.contributors)
    failed = 0
    for words, problem in checks(arguments.root, arguments.short_history, arguments.online):
        failed += bool(problem)
        sys.stdout.write(f"{'FAILED' if problem else 'ok':<7} {words}{f': {problem}' if problem else ''}\n")
    return int(failed > 0)


def set_repository(root: Path, url: str) -> None:
    """Write the repository's address wherever it stands.

    Raises:
        SystemExit: If it is no address of a repository whose name begins with Slicer.
    """
    found = REPOSITORY.fullmatch(url.removesuffix("/").removesuffix(".git"))
    if found is None:
        raise SystemExit(f"A repository is https://github.com/OWNER/SlicerNAME; found {url!r}. Rename or correct it.")
    owner, name = found.groups()
    for file in NAMED_IN:
        text = (root / file).read_text("utf-8")
        text = REPOSITORY.sub(f"https://github.com/{owner}/{name}", text)
        raw = r"https://raw\.githubusercontent\.com/[\w.-]+/Slicer[\w-]+"
        write(root / file, re.sub(raw, f"https://raw.githubusercontent.com/{owner}/{name}", text))


def set_contributors(root: Path, names: str) -> None:
    """Write who contributed: into the extension's description, both modules and the README.

    Raises:
        SystemExit: If a file has no place for them.
    """
    people = [name.strip() for name in re.split(r",\s*(?![^()]*\))", names) if name.strip()]
    quoted = json.dumps(people, ensure_ascii=False)
    for file, place, words in (
        ("CMakeLists.txt", r'(EXTENSION_CONTRIBUTORS ")[^"]*(")', ", ".join(people)),
        ("README.md", r"(\[Apache-2\.0\]\(LICENSE\), © )[^\n]*?(\. )", ", ".join(people)),
        *((module, r"(parent\.contributors = )\[[^\]]*\]()", quoted) for module in MODULES),
    ):
        text = (root / file).read_text("utf-8")
        changed, count = re.subn(place, lambda found, words=words: found[1] + words + found[2], text)
        if count != 1:
            raise SystemExit(f"{file} should have one place for contributors; found {count}. Write them by hand.")
        write(root / file, changed)


def checks(root: Path, short_history: bool = False, online: bool = False) -> Iterator[tuple[str, str]]:
    """Yield what is checked and what is wrong with it, empty where nothing is."""
    cmake = (root / "CMakeLists.txt").read_text("utf-8")
    project = (re.search(r"project\((\w+)\)", cmake) or ["", ""])[1]
    entry_file = root / "Resources" / f"{project}.json"
    yield "the index's file is named as the project", "" if entry_file.is_file() else f"no {entry_file.name}"
    if not entry_file.is_file():
        return
    entry = json.loads(entry_file.read_text("utf-8"))
    yield "its line endings are LF", "CR found" if b"\r" in entry_file.read_bytes() else ""
    yield "the project's name does not begin with Slicer", project if project.startswith("Slicer") else ""
    fits = entry.get("category") in CATEGORIES
    yield "the category is one of the index's", "" if fits else f"{entry.get('category')!r}, not {CATEGORIES}"
    address = str(entry.get("scm_url", ""))
    good = REPOSITORY.fullmatch(address.removesuffix(".git")) and address.endswith(".git")
    yield "scm_url is a repository whose name begins with Slicer", "" if good else address or "none"
    home = value(cmake, "EXTENSION_HOMEPAGE")
    yield "homepage and scm_url agree", "" if address == f"{home}.git" else f"{home} and {address}"
    origin = git(root, "remote", "get-url", "origin")
    same = origin.removesuffix(".git") == address.removesuffix(".git")
    yield "the remote origin is that repository", "" if same else (origin or "there is none") + f", not {address}"
    named = value(cmake, "EXTENSION_CONTRIBUTORS")
    yield "contributors are named", "" if named and "developers" not in named else f"{named!r}: give --contributors"
    icons, shown = value(cmake, "EXTENSION_ICONURL").split(), value(cmake, "EXTENSION_SCREENSHOTURLS").split()
    yield "there is an icon", picture_problem(root, icons, home)
    yield "there are screenshots", picture_problem(root, shown, home)
    licence = root / "LICENSE"
    yield "the licence lies at the root", "" if licence.is_file() and licence.stat().st_size > 1000 else "no LICENSE"
    size_mb = clone_mb(root, short_history)
    yield f"a clone is below {MAX_MB} MB", "" if size_mb < MAX_MB else f"{size_mb:.1f} MB; see Short history"
    for url in dict.fromkeys([home, *icons, *shown]) if online else ():
        yield f"{url} answers", answer_problem(url)


def value(cmake: str, name: str) -> str:
    """Return a variable of CMakeLists.txt; empty where it is not set."""
    found = re.search(rf'set\({name} "([^"]*)"\)', cmake)
    return found[1] if found else ""


def picture_problem(root: Path, urls: list[str], home: str) -> str:
    """Return what is wrong with pictures that are named by their addresses in the repository."""
    raw = home.replace("https://github.com/", "https://raw.githubusercontent.com/") + "/main/"
    if not urls:
        return "none is named"
    for url in urls:
        file = root / url.removeprefix(raw)
        if not url.startswith(raw) or not file.is_file():
            return f"{url} is no file of this repository"
        head = file.read_bytes()[:24]
        if head[:8] != b"\x89PNG\r\n\x1a\n":
            return f"{file.name} is no PNG"
        if min(struct.unpack(">II", head[16:24])) < 64:
            return f"{file.name} is smaller than 64 pixels"
    return ""


def clone_mb(root: Path, short_history: bool) -> float:
    """Return what a clone weighs, MB of 10⁶ bytes: the files, and the pack of all that the history reaches."""
    files = sum(int(line.split()[3]) for line in git(root, "ls-tree", "-r", "-l", "HEAD").splitlines())
    tip = git(root, "rev-parse", "HEAD^{tree}" if short_history else "HEAD")
    words = ["git", "pack-objects", "--revs", "--stdout", "-q"]
    pack = subprocess.run(words, cwd=root, input=f"{tip}\n".encode(), capture_output=True, check=True).stdout
    return (files + len(pack)) / 1e6


def git(root: Path, *words: str) -> str:
    """Return what git says of the tree; empty where it fails."""
    return subprocess.run(["git", *words], cwd=root, capture_output=True, encoding="utf-8", check=False).stdout.strip()


def answer_problem(url: str) -> str:
    """Return why an address does not answer; empty where it does."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=WAIT_S) as answer:
            return "" if answer.status == 200 else f"status {answer.status}"
    except OSError as error:
        return str(error)


def write(file: Path, text: str) -> None:
    """Write a file as it is kept: UTF-8, LF."""
    file.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    sys.exit(main())
