"""The command that prepares the publication: what it sets, and that each of its checks can say no."""

import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "Resources" / "Docs" / "publish.py"
URL, NAMES = "https://github.com/example-lab/SlicerHeartFlow", "A. Müller (Uni A, Dept. B), C. Roe (Uni D)"


@pytest.fixture(scope="module")
def publish():
    return runpy.run_path(str(SCRIPT), run_name="publish")


@pytest.fixture
def tree(tmp_path, publish):
    """Return a repository of one commit with the files that the command works on."""
    root = tmp_path / "tree"
    cmake = (ROOT / "CMakeLists.txt").read_text("utf-8")
    pictures = re.findall(r"/main/(Resources/\S+?\.png)", cmake)
    for name in (*publish["NAMED_IN"], *publish["MODULES"], *pictures, "LICENSE"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    for words in (("init", "-q"), ("remote", "add", "origin", f"{URL}.git"), ("add", "."),
                  ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "x")):  # fmt: skip
        subprocess.run(["git", *words], cwd=root, check=True)
    return root


def run(root, *words):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--root", str(root), *words], capture_output=True, encoding="utf-8", check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_address_and_people_are_written_wherever_they_stand_and_all_checks_pass(tree, publish):
    code, said = run(tree, "--repository", URL, "--contributors", NAMES)
    assert code == 0, said
    assert "FAILED" not in said
    for name in publish["NAMED_IN"]:
        text = (tree / name).read_text("utf-8")
        assert "example-lab/SlicerHeartFlow" in text, name
        assert "ChainOfFlow/SlicerChainOfFlow" not in text, name
    assert json.loads((tree / "Resources" / "ChainOfFlow.json").read_text("utf-8"))["scm_url"] == f"{URL}.git"
    assert f'EXTENSION_CONTRIBUTORS "{NAMES}"' in (tree / "CMakeLists.txt").read_text("utf-8")
    assert f"© {NAMES}. " in (tree / "README.md").read_text("utf-8")
    module = (tree / "COFGenerator" / "COFGenerator.py").read_text("utf-8")
    assert 'contributors = ["A. Müller (Uni A, Dept. B)", "C. Roe (Uni D)"]' in module
    compile(module, "COFGenerator.py", "exec")


def break_category(root):
    file = root / "Resources" / "ChainOfFlow.json"
    file.write_text(file.read_text("utf-8").replace("Cardiac", "Hearts"), "utf-8")


def break_icon(root):
    next((root / "Resources" / "Icons").glob("*.png")).write_bytes(b"<svg/>")


WRONG = {
    "category": break_category,
    "icon": break_icon,
    "licence": lambda root: (root / "LICENSE").unlink(),
    "scm_url and the remote": lambda root: subprocess.run(["git", "remote", "remove", "origin"], cwd=root, check=True),
    "screenshots": lambda root: next((root / "Resources" / "Screenshots").glob("COFTraining*")).unlink(),
}


def test_each_check_says_no_where_something_is_wrong(tree, publish):
    run(tree, "--repository", URL, "--contributors", NAMES)
    assert [words for words, problem in publish["checks"](tree) if problem] == []
    for break_it in WRONG.values():
        break_it(tree)
    failed = {words for words, problem in publish["checks"](tree) if problem}
    assert failed == {
        "the category is one of the index's", "there is an icon", "the licence lies at the root",
        "the remote origin is that repository", "there are screenshots",
    }  # fmt: skip


def test_history_counts_unless_it_is_left_behind(tree, publish):
    import numpy as np

    noise = tree / "noise.bin"
    noise.write_bytes(np.random.default_rng(0).bytes(300_000))
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    for words in (("add", "."), (*identity, "commit", "-q", "-m", "x"), ("rm", "-q", "noise.bin"),
                  (*identity, "commit", "-q", "-m", "y")):  # fmt: skip
        subprocess.run(["git", *words], cwd=tree, check=True)
    full, short = publish["clone_mb"](tree, False), publish["clone_mb"](tree, True)
    assert full - short == pytest.approx(0.3, abs=0.02)


def test_an_address_that_the_index_would_refuse_is_refused(tree):
    code, said = run(tree, "--repository", "https://github.com/example-lab/HeartFlow")
    assert code == 1
    assert "SlicerNAME" in said


def test_the_command_of_the_page_is_one_that_runs(tree):
    text = (ROOT / "Resources" / "Docs" / "publishing.md").read_text("utf-8")
    line = next(line for line in text.splitlines() if line.startswith("python Resources/Docs/publish.py --repository"))
    subprocess.run(
        ["git", "remote", "set-url", "origin", "https://github.com/ChainOfFlow/SlicerChainOfFlow"], cwd=tree, check=True
    )
    code, said = run(tree, *shlex.split(line)[2:])
    assert code == 0, said
