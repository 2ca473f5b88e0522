"""The user's desktop: clipboard, files and folders."""

import os

import qt
import slicer


def copy_to_clipboard(text: str) -> None:
    """Put text on the clipboard of the application."""
    slicer.app.clipboard().setText(text)


def open_path(path: str | os.PathLike | None) -> None:
    """Show a file or folder with the program that the system has for it; nothing happens for None."""
    if path is not None:
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(path)))
