"""Gives PySide6 the habits of PythonQt, as far as the modules under test use them, before any widget is made."""

import ctypes
import re
import sys

from PySide6 import QtCore, QtGui, QtWidgets

if sys.version_info < (3, 12):
    # PySide6 6.12 gives back None without taking a reference, and before Python 3.12 None can run out of them.
    ctypes.c_ssize_t.from_address(id(None)).value += 1_000_000_000


METHODS = ("parent", "singleShot", "sizeHint", "minimumSizeHint")
"""Properties that are left alone: a method of the same name is used, or Qt itself calls it."""


def _property(name):
    return property(
        lambda self: QtCore.QObject.property(self, name),
        lambda self, value: QtCore.QObject.setProperty(self, name, value),
    )


def _give_properties(qt_class) -> None:
    """PythonQt shows Qt properties as attributes: ``button.text``, not ``button.text()``."""
    meta = qt_class.staticMetaObject
    for index in range(meta.propertyOffset(), meta.propertyCount()):
        name = meta.property(index).name()
        if name not in METHODS:
            setattr(qt_class, name, _property(name))


for _module in (QtCore, QtGui, QtWidgets):
    for _name in dir(_module):
        _class = getattr(_module, _name)
        if isinstance(_class, type) and issubclass(_class, QtCore.QObject):
            _give_properties(_class)
QtCore.QObject.name = _property("objectName")

_plain_getattribute = QtCore.QObject.__getattribute__


def _signal(sender, signature: str):
    return getattr(sender, re.match(r"\s*(\w+)", signature).group(1))


def _getattribute(self, name):
    """PythonQt connects by signature: ``button.connect("clicked(bool)", slot)``."""
    if name == "connect":
        return lambda signature, slot: _signal(self, signature).connect(slot)
    if name == "disconnect":
        return lambda signature, slot: _signal(self, signature).disconnect(slot)
    return _plain_getattribute(self, name)


QtCore.QObject.__getattribute__ = _getattribute
