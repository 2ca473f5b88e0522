"""The .ui files: names, bindings, tooltips, scene connections."""

import ast
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("COFGenerator", "COFTraining")
INPUTS = {
    "qMRMLNodeComboBox",
    "ctkPathLineEdit",
    "QComboBox",
    "QSpinBox",
    "QDoubleSpinBox",
    "QLineEdit",
    "QCheckBox",
    "QPushButton",
    "QToolButton",
}
MRML = {"qMRMLNodeComboBox", "qMRMLTableView", "qMRMLSequenceBrowserPlayWidget", "qMRMLSequenceBrowserSeekWidget"}


@pytest.fixture(params=MODULES)
def module(request):
    return request.param


@pytest.fixture
def ui(module):
    return ElementTree.parse(ROOT / module / "Resources" / "UI" / f"{module}.ui")


def widgets(ui):
    return list(ui.iter("widget"))


def text_of(widget, name):
    found = widget.find(f"property[@name='{name}']/string")
    return None if found is None else (found.text or "")


def test_names_are_unique(ui):
    names = [widget.get("name") for widget in widgets(ui)]
    assert sorted(names) == sorted(set(names))


def test_every_parameter_is_bound_by_exactly_one_widget(ui, module):
    bound = [name for widget in widgets(ui) if (name := text_of(widget, "SlicerParameterName")) is not None]
    tree = ast.parse((ROOT / module / f"{module}.py").read_text("utf-8"))
    node = next(item for item in tree.body if isinstance(item, ast.ClassDef) and item.name == f"{module}ParameterNode")
    fields = [item.target.id for item in node.body if isinstance(item, ast.AnnAssign)]
    assert sorted(bound) == sorted(fields)


def test_parameter_names_are_dynamic_properties(ui):
    """Without stdset="0" the property would be looked for in the widget's class and lost."""
    for item in ui.iter("property"):
        if item.get("name") == "SlicerParameterName":
            assert item.get("stdset") == "0"


def test_every_input_explains_itself(ui):
    silent = [
        widget.get("name") for widget in widgets(ui) if widget.get("class") in INPUTS and not text_of(widget, "toolTip")
    ]
    assert silent == []


def test_every_scene_widget_gets_the_scene(ui, module):
    connected = {
        item.find("receiver").text
        for item in ui.iter("connection")
        if item.find("signal").text == "mrmlSceneChanged(vtkMRMLScene*)" and item.find("sender").text == module
    }
    assert connected == {widget.get("name") for widget in widgets(ui) if widget.get("class") in MRML}


def test_custom_widgets_are_declared(ui):
    declared = {item.find("class").text for item in ui.iter("customwidget")}
    used = {widget.get("class") for widget in widgets(ui) if not re.match(r"Q[A-Z]", widget.get("class"))}
    assert used == declared


def test_widgets_that_the_code_uses_exist(ui, module):
    code = "".join(
        path.read_text("utf-8") for folder in (ROOT / module).glob("*Lib") for path in (folder / "ui").glob("*.py")
    )
    strings = set(re.findall(r'"([a-z]\w*(?:Button|Edit|Selector|Label|Widget))"', code))
    used = strings | set(re.findall(r"(?<![a-zA-Z.])(?:self\._)?ui\.([a-z]\w+)", code))
    names = {widget.get("name") for widget in widgets(ui)}
    assert used - names == set()
    assert len(used) >= 10


def test_the_panel_fits_a_narrow_column(ui):
    for item in ui.iter("property"):
        if item.get("name") in ("minimumSize", "geometry"):
            width = item.find(".//width")
            assert width is None or int(width.text) <= 420
