"""A small beating ring in an oblique place, as a heart to export; it is that of the scene's tests."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def synthetic():
    """Return the module that makes it, by its file: test folders are no packages."""
    path = Path(__file__).resolve().parents[1] / "scene" / "synthetic.py"
    description = importlib.util.spec_from_file_location("synthetic_heart", path)
    module = importlib.util.module_from_spec(description)
    description.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def make_cine(synthetic):
    return synthetic.make_cine


@pytest.fixture(scope="session")
def oblique_geometry(synthetic):
    return synthetic.oblique_geometry
