"""The examples in docstrings run and give what they say; rooms show their public names, results fit on a line."""

import doctest
import importlib
import inspect

import numpy as np
import pytest

FUNCTIONS = {
    "read_ecg": "COFGeneratorLib", "analyse_ecg": "COFGeneratorLib", "read_sax": "COFGeneratorLib",
    "load_bundle": "COFGeneratorLib", "generate": "COFGeneratorLib",
}  # fmt: skip
SLOW = {"load_bundle", "generate"}
ROOMS = ("COFGeneratorLib", "COFGeneratorLib.ecg", "COFGeneratorLib.anatomy", "COFGeneratorLib.generator")


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in FUNCTIONS])
def test_the_example_of_a_public_function_is_true(name):
    function = getattr(importlib.import_module(FUNCTIONS[name]), name)
    module = importlib.import_module(function.__module__)
    (found,) = doctest.DocTestFinder(recurse=False).find(function, name, globs=dict(vars(module)))
    assert found.examples, "a public function has an example"
    runner = doctest.DocTestRunner(verbose=False)
    said: list[str] = []
    runner.run(found, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


@pytest.mark.parametrize("room", ROOMS)
def test_dir_shows_the_public_names_and_each_of_them_is_there(room):
    module = importlib.import_module(room)
    assert dir(module) == sorted(module.__all__)
    for name in dir(module):
        assert getattr(module, name) is not None


def test_what_python_users_look_at_says_itself_in_one_line():
    from COFGeneratorLib import analyse_ecg, read_ecg, read_sax
    from COFGeneratorLib.anatomy import CineStack
    from COFGeneratorLib.function import FunctionReport, measure_function
    from COFGeneratorLib.resources import sample_patient

    patient = sample_patient()
    record, anchor = read_ecg(patient.ecg), read_sax(patient.anchor)
    labels = np.zeros((4, 8, 40, 40), np.uint8)
    for frame, radius in enumerate((12, 10, 8, 10)):
        labels[frame, :, 20 - radius : 20 + radius, 20 - radius : 20 + radius] = 1
    geometry = np.diag([1.5, 1.5, 8.0, 1.0])
    report = measure_function(
        labels, geometry, np.arange(4) * 200.0, 800.0, 75.0, labels_from="user", folded_fraction=0.0
    )
    assert isinstance(report, FunctionReport)
    for item in (record, analyse_ecg(record), anchor, CineStack(anchor.voxels[None], anchor.ijk_to_ras), report):
        assert len(repr(item)) < 120, repr(item)
        assert repr(item).startswith(f"{type(item).__name__}(")
        assert "\n" not in repr(item)
    assert (
        inspect.signature(importlib.import_module("COFGeneratorLib").load_bundle).parameters["folder"].default is None
    )
