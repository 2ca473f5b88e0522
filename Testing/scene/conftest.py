"""Fixtures of the scene tests: a synthetic cine and a private MRML scene."""

import importlib.util
import sys
from pathlib import Path

import pytest
from COFGeneratorLib.scene import standalone_scene

pytest.importorskip("slicer", reason="slicer-core is not installed")

_spec = importlib.util.spec_from_file_location("cof_scene_synthetic", Path(__file__).with_name("synthetic.py"))
synthetic = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = synthetic
_spec.loader.exec_module(synthetic)


@pytest.fixture(scope="session")
def a_cine():
    return synthetic.make_cine()


@pytest.fixture(scope="session")
def make_cine():
    return synthetic.make_cine


@pytest.fixture(scope="session")
def oblique_geometry():
    return synthetic.oblique_geometry


@pytest.fixture
def scene():
    with standalone_scene() as private:
        yield private
