"""Typed parameters over a vtkMRMLScriptedModuleNode and their binding to widgets, for the types that we use."""

import types
import typing
from pathlib import Path

import ctk
import qt
import slicer
import vtk

__all__ = ["Choice", "WithinRange", "parameterNodeWrapper"]

PROPERTY = "SlicerParameterName"


class WithinRange:
    """Bounds of a number."""

    def __init__(self, minimum, maximum):
        self.minimum, self.maximum = minimum, maximum

    def validate(self, value):
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within {self.minimum} and {self.maximum}, is {value}")


class Choice:
    """Closed set of values."""

    def __init__(self, choices):
        self.choices = list(choices)

    def validate(self, value):
        if value not in self.choices:
            raise ValueError(f"Value must be one of {self.choices}, is {value!r}")


class _Parameter:
    def __init__(self, name, hint, default):
        self.name = name
        base, *self.annotations = typing.get_args(hint) if typing.get_origin(hint) is typing.Annotated else (hint,)
        union = typing.get_origin(base) in (typing.Union, types.UnionType)
        members = [member for member in (typing.get_args(base) if union else (base,)) if member is not type(None)]
        self.node_types = [member for member in members if issubclass(member, slicer.vtkMRMLNode)]
        self.type = members[0]
        self.default = default if default is not None or self.node_types else self.type()

    def read(self, node):
        if self.node_types:
            return node.GetNodeReference(self.name)
        text = node.GetParameter(self.name)
        return text == "true" if self.type is bool else self.type(text)

    def write(self, node, value):
        if self.node_types:
            node.SetParameter(self.name, "")
            node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
            return
        for annotation in self.annotations:
            annotation.validate(value)
        if not isinstance(value, self.type):
            raise TypeError(f"{self.name} must be {self.type.__name__}, is {type(value).__name__}")
        node.SetParameter(self.name, str(value).lower() if self.type is bool else str(value))


def parameterNodeWrapper(cls):
    """Turn a class of annotations into a typed view of a parameter node."""
    hints = typing.get_type_hints(cls, include_extras=True)
    parameters = {name: _Parameter(name, hint, getattr(cls, name, None)) for name, hint in hints.items()}

    def init(self, node):
        self.parameterNode, self._bindings, self._next, self._updating = node, {}, 0, False
        for parameter in parameters.values():
            if not node.HasParameter(parameter.name):
                parameter.write(node, parameter.default)

    cls.__init__ = init
    cls.allParameters = parameters
    for parameter in parameters.values():
        setattr(cls, parameter.name, _accessor(parameter))
    cls.AddObserver = lambda self, event, callback, priority=0.0: self.parameterNode.AddObserver(
        event, callback, priority
    )
    cls.RemoveObserver = lambda self, tag: self.parameterNode.RemoveObserver(tag)
    cls.Modified = lambda self: self.parameterNode.Modified()
    cls.connectGui, cls.disconnectGui = _connect_gui, _disconnect_gui
    return cls


def _accessor(parameter):
    return property(
        lambda self: parameter.read(self.parameterNode), lambda self, value: parameter.write(self.parameterNode, value)
    )


def _connect_gui(self, gui):
    bound = []
    for widget in gui.__dict__.values():
        name = widget.property(PROPERTY)
        if name:
            if name not in self.allParameters:
                raise ValueError(f"Cannot find a param with the given name: {name}")
            bound.append((name, _Binding(widget, self.allParameters[name])))

    def to_gui(*_):
        if not self._updating:
            self._updating = True
            try:
                for name, binding in bound:
                    binding.write(getattr(self, name))
            finally:
                self._updating = False

    to_gui()
    for name, binding in bound:
        binding.listen(lambda *_, name=name, binding=binding: None if self._updating else _take(self, name, binding))
    tag, self._next = self._next, self._next + 1
    self._bindings[tag] = (bound, self.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, to_gui))
    return tag


def _take(self, name, binding):
    setattr(self, name, binding.read())


def _disconnect_gui(self, tag):
    if tag in self._bindings:
        bound, observer = self._bindings.pop(tag)
        for _, binding in bound:
            binding.silence()
        self.parameterNode.RemoveObserver(observer)


class _Binding:
    """Value and signal of one widget."""

    KINDS: typing.ClassVar = {
        qt.QSpinBox: ("value", "valueChanged"),
        qt.QDoubleSpinBox: ("value", "valueChanged"),
        qt.QCheckBox: ("checked", "stateChanged"),
        qt.QLineEdit: ("text", "textChanged"),
        qt.QComboBox: ("currentText", "currentIndexChanged"),
        ctk.ctkPathLineEdit: ("currentPath", "currentPathChanged"),
    }

    def __init__(self, widget, parameter):
        self.widget, self.parameter, self._slot = widget, parameter, None
        if type(widget) is slicer.qMRMLNodeComboBox:
            widget.nodeTypes = [node_type().GetClassName() for node_type in parameter.node_types]
        elif type(widget) not in self.KINDS:
            raise RuntimeError(f"Unable to create GUI connector to widget type {type(widget)}")
        for annotation in parameter.annotations:
            if isinstance(annotation, WithinRange):
                widget.setRange(annotation.minimum, annotation.maximum)
            elif isinstance(annotation, Choice):
                widget.clear()
                widget.addItems(annotation.choices)

    def _is_node(self):
        return bool(self.parameter.node_types)

    def read(self):
        if self._is_node():
            return self.widget.currentNode()
        value = getattr(self.widget, self.KINDS[type(self.widget)][0])
        return Path(value) if self.parameter.type is Path else value

    def write(self, value):
        if self._is_node():
            self.widget.setCurrentNode(value)
        elif value != self.read():
            setattr(self.widget, self.KINDS[type(self.widget)][0], str(value) if isinstance(value, Path) else value)

    def listen(self, slot):
        self._slot = slot
        self._signal().connect(slot)

    def silence(self):
        self._signal().disconnect(self._slot)

    def _signal(self):
        name = "currentNodeChanged" if self._is_node() else self.KINDS[type(self.widget)][1]
        return getattr(self.widget, name)
