"""Mouse clicks and dropped files on widgets of a ``.ui`` file, without subclassing the widgets."""

import logging
from collections.abc import Callable
from typing import Any

import qt


class EventFilter(qt.QObject):
    """Passes events of some types on to functions, which return whether the event is dealt with."""

    def __init__(self, handlers: dict[int, Callable[[object], bool]]) -> None:
        qt.QObject.__init__(self)
        self._handlers = handlers

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Called by Qt before the widget sees an event. What a handler raises would be lost in Qt, so it is logged."""
        handler = self._handlers.get(event.type())
        if handler is None:
            return False
        try:
            return bool(handler(event))
        except Exception:
            logging.exception("An event could not be handled")
            return False


def on_click(widget: Any, slot: Callable[[float, float], None]) -> EventFilter:
    """Call ``slot(x, y)`` for a press of the left button on a widget, pixels.

    Returns:
        The filter, which the caller has to keep.
    """

    def pressed(event: Any) -> bool:
        if event.button() != qt.Qt.LeftButton:
            return False
        at = event.localPos() if hasattr(event, "localPos") else event.position()  # Qt 5, Qt 6
        slot(float(at.x()), float(at.y()))
        return True

    return _install(widget, {qt.QEvent.MouseButtonPress: pressed})


def on_drop(widget: Any, slot: Callable[[str], None]) -> EventFilter:
    """Call ``slot(path)`` when one local file is dropped on a widget.

    Returns:
        The filter, which the caller has to keep.
    """

    def entered(event: Any) -> bool:
        if not dropped_file(event.mimeData()):
            return False
        event.acceptProposedAction()
        return True

    def dropped(event: Any) -> bool:
        path = dropped_file(event.mimeData())
        if path:
            event.acceptProposedAction()
            slot(path)
        return bool(path)

    widget.setAcceptDrops(True)
    return _install(widget, {qt.QEvent.DragEnter: entered, qt.QEvent.DragMove: entered, qt.QEvent.Drop: dropped})


def dropped_file(mime: Any) -> str:
    """Return the path of the one local file that is dragged, or an empty text."""
    urls = list(mime.urls()) if mime.hasUrls() else []
    return str(urls[0].toLocalFile()) if len(urls) == 1 else ""


def _install(widget: Any, handlers: dict[int, Callable[[Any], bool]]) -> EventFilter:
    event_filter = EventFilter(handlers)
    widget.installEventFilter(event_filter)
    return event_filter
