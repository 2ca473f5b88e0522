"""What importing costs and offers, seen in a fresh interpreter."""

import importlib
import pkgutil
import subprocess
import sys

import pytest
from support import house

HEAVY = {"torch", "monai", "scipy", "SimpleITK", "neurokit2", "wfdb", "pydicom", "matplotlib", "PIL", "slicer", "vtk"}
ROOMS = [room for line in house.GENERATOR_ROOMS for room in line if room not in ("cine", "ui", "weights")]
"""A cine is an array's neighbour and weights are torch's: who imports these files wants that; ``ui`` needs Qt."""
PACKAGES = ["COFGeneratorLib", *(f"COFGeneratorLib.{room}" for room in ROOMS), "COFTrainingLib", "COFTrainingLib.cli"]


def test_importing_a_room_loads_nothing_heavy(repository):
    script = f"""
import sys
sys.path[:0] = {[str(repository / "COFGenerator"), str(repository / "COFTraining")]!r}
for package in {PACKAGES!r}:
    __import__(package)
    found = {HEAVY!r} & set(sys.modules)
    assert not found, (package, found)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, encoding="utf-8", check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("package", ["COFGeneratorLib", "COFTrainingLib"])
def test_every_module_can_be_imported(package):
    root = importlib.import_module(package)
    names = [module.name for module in pkgutil.walk_packages(root.__path__, f"{package}.", onerror=lambda name: None)]
    for name in names:
        if ".ui" not in name and not name.endswith("__main__"):  # ui needs Qt; __main__ runs
            importlib.import_module(name)
    assert len(names) > 20


@pytest.mark.parametrize("room", ["", ".ecg", ".anatomy", ".generator", ".scene", ".figures", ".function", ".results"])
def test_every_public_name_exists(room):
    package = importlib.import_module(f"COFGeneratorLib{room}")
    assert package.__all__
    for name in package.__all__:
        assert getattr(package, name) is not None
