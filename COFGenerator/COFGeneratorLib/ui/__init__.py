"""Parts of the module widgets: job monitor, job view, dependencies, generator view.

Plain objects that work on widgets of the ``.ui`` files; none of them subclasses a Qt widget.
"""
