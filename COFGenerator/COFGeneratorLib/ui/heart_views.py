"""The cardiac layout on the desktop: shown for a result, and the user's own layout back."""

from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from COFGeneratorLib.scene import cardiac_layout
from COFGeneratorLib.scene.heart_planes import HeartPlanes
from COFGeneratorLib.scene.result import ResultNodes
from COFGeneratorLib.ui.chart_clicks import ChartClicks


class HeartViews:
    """Works on the buttons *Cardiac views* and *Back to my views*.

    Args:
        ui: Widgets of the module by name.
        clicks: Listens to the plot views once there are any.
    """

    def __init__(self, ui: Any, clicks: ChartClicks) -> None:
        self._ui, self._clicks = ui, clicks
        ui.restoreViewsButton.connect("clicked(bool)", self.restore)
        cardiac_layout.add_layout(slicer.mrmlScene)
        self.refresh()

    def show(self, nodes: ResultNodes, labels: bool) -> None:
        """Show a result; where there is no window, nothing happens."""
        with slicer.util.tryWithErrorDisplay(_("The heart's views could not be shown."), waitCursor=True):
            if cardiac_layout.add_layout(slicer.mrmlScene) is not None:
                planes = cardiac_layout.show_cardiac_layout(slicer.mrmlScene, nodes, labels)
                _look_at(planes)
                self._clicks.listen()
                qt.QTimer.singleShot(0, lambda: _place_again(planes))
        self.refresh()

    def restore(self, *_args: Any) -> None:
        """Bring the user's own layout back."""
        cardiac_layout.restore_layout(slicer.mrmlScene)
        self.refresh()

    def refresh(self) -> None:
        """Enable what can be used now."""
        self._ui.restoreViewsButton.enabled = cardiac_layout.is_shown(slicer.mrmlScene)


def _place_again(planes: HeartPlanes) -> None:
    """Zoom once more, now that the views of the layout have their size on the screen."""
    if cardiac_layout.is_shown(slicer.mrmlScene):
        cardiac_layout.place_slices(slicer.mrmlScene, planes)


def _look_at(planes: HeartPlanes) -> None:
    """Place the camera of the layout's 3-D view before the heart."""
    cameras = getattr(slicer.modules, "cameras", None)
    view = slicer.mrmlScene.GetSingletonNode(cardiac_layout.HEART, "vtkMRMLViewNode")
    camera = None if cameras is None or view is None else cameras.logic().GetViewActiveCameraNode(view)
    if camera is not None:
        camera.SetFocalPoint(*planes.centre_ras)
        camera.SetPosition(*planes.eye_ras)
        camera.SetViewUp(*planes.up_ras)
        camera.ResetClippingRange()
