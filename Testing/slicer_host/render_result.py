"""A window of Slicer with a result in its cardiac views, drawn off screen by the displayable managers of slicer-core.

    python Testing/slicer_host/render_result.py RESULT_FOLDER --out out/pictures/large

The result is what ``cof generate`` or ``cof demo`` writes; the panel's picture is one of ``screenshots.py`` in the same
folder. Window frames and annotations belong to the desktop and are not in the picture.
"""

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(Path(__file__).resolve().parent), str(ROOT / "COFGenerator")]
SIZE = 360
"""Width and height of one view, pixels."""
CHART_MARGINS = (56, 44, 16, 30)
"""Left, bottom, right and top of the chart, pixels."""


def main() -> int:
    """Make ``window.png`` at end-systole."""
    parser = argparse.ArgumentParser(description="Draw a result in Slicer's views.")
    parser.add_argument("result", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "pictures" / "large")
    arguments = parser.parse_args()
    from COFGeneratorLib.scene import load_result, standalone_scene

    with standalone_scene() as scene:
        nodes = load_result(arguments.result, scene)
        nodes.show_frame(int(nodes.facts.get("es_frame") or nodes.cine.GetNumberOfDataNodes() // 3))
        panel = arguments.out / "COFGenerator-done.png"
        write_window(panel, Views(scene, nodes).layout_picture(), arguments.out / "window.png")
    return 0


class Views:
    """Slice, 3-D and chart views of a result.

    Args:
        scene: vtkMRMLScene.
        nodes: ``ResultNodes``.
    """

    def __init__(self, scene, nodes):
        import slicer
        import vtk
        from COFGeneratorLib.scene.heart_planes import heart_planes

        self.slicer, self.vtk, self.scene, self.nodes = slicer, vtk, scene, nodes
        self.planes = heart_planes(nodes)
        self.application = slicer.vtkMRMLApplicationLogic()
        self.application.SetMRMLScene(scene)
        self._count = 0

    def layout_picture(self):
        """Return the picture of the cardiac layout at the shown frame, as ``scene.cardiac_layout`` places its views."""
        import numpy as np

        upper = [self.slice_picture(self.planes.short_axis, SIZE * 3 // 2), self.body_picture(SIZE * 3 // 2)]
        lower = [
            self.slice_picture(self.planes.horizontal_long_axis),
            self.slice_picture(self.planes.vertical_long_axis),
        ]
        lower.append(self.chart_picture())
        return np.concatenate([np.concatenate(row, axis=1) for row in (upper, lower)])

    def slice_picture(self, plane, size=SIZE):
        """Return the picture of a plane, (4, 4) slice → RAS, with the labels' outlines."""
        from COFGeneratorLib.scene.heart_planes import place_slice

        slicer, vtk, nodes = self.slicer, self.vtk, self.nodes
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(self.application)
        logic.SetMRMLScene(self.scene)
        self._count += 1
        logic.AddSliceNode(f"Cof{self._count}")
        node, composite = logic.GetSliceNode(), logic.GetSliceCompositeNode()
        node.SetDimensions(size, size, 1)
        node.SetUseLabelOutline(True)
        place_slice(node, plane, self.planes.extent_mm)
        composite.SetBackgroundVolumeID(nodes.proxy("cine").GetID())
        composite.SetLabelVolumeID(nodes.proxy("labels").GetID())
        composite.SetLabelOpacity(0.9)
        logic.UpdatePipeline()
        port = logic.GetImageDataConnection()
        mapper = vtk.vtkImageMapper()
        mapper.SetInputConnection(port)
        mapper.SetColorWindow(255.0)
        mapper.SetColorLevel(127.5)
        actor = vtk.vtkActor2D()
        actor.SetMapper(mapper)
        renderer = vtk.vtkRenderer()
        renderer.AddViewProp(actor)
        picture = self._drawn(renderer, self._window(renderer, size))
        logic.SetMRMLScene(None)
        return picture

    def body_picture(self, size=SIZE):
        """Return the picture of the beating surfaces in a 3-D view."""
        from COFGeneratorLib.scene.surfaces import beating_surfaces

        slicer, vtk, planes = self.slicer, self.vtk, self.planes
        beating_surfaces(self.scene, self.nodes)
        view = self.scene.GetFirstNodeByClass("vtkMRMLViewNode")
        if view is None:
            view = self.scene.AddNewNodeByClass("vtkMRMLViewNode")
            view.SetBoxVisible(False)
            view.SetAxisLabelsVisible(False)
        renderer = vtk.vtkRenderer()
        renderer.SetBackground(0.76, 0.76, 0.91)
        renderer.SetBackground2(0.45, 0.47, 0.75)
        renderer.GradientBackgroundOn()
        window = self._window(renderer, size)
        interactor = vtk.vtkGenericRenderWindowInteractor()
        interactor.SetRenderWindow(window)
        factory = slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(self.application)
        for name in ("vtkMRMLModelDisplayableManager",):
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        group = factory.InstantiateDisplayableManagers(renderer)
        group.SetMRMLDisplayableNode(view)
        camera = renderer.GetActiveCamera()
        camera.SetFocalPoint(*planes.centre_ras)
        camera.SetPosition(*planes.eye_ras)
        camera.SetViewUp(*planes.up_ras)
        camera.SetViewAngle(27.0)
        renderer.ResetCameraClippingRange()
        picture = self._drawn(renderer, window)
        group.SetMRMLDisplayableNode(None)
        return picture

    def chart_picture(self):
        """Return the picture of the chart: its series as lines over time, as the desktop's plot view draws them."""
        vtk, chart_node = self.vtk, self.nodes.chart
        chart = vtk.vtkChartXY()
        chart.SetShowLegend(True)
        chart.SetBorders(*CHART_MARGINS)
        for axis, title in ((1, chart_node.GetXAxisTitle()), (0, chart_node.GetYAxisTitle())):
            chart.GetAxis(axis).SetTitle(title)
        volumes = chart.GetAxis(0)
        volumes.SetBehavior(vtk.vtkAxis.FIXED)
        volumes.SetRange(*chart_node.GetYAxisRange())
        for index in range(chart_node.GetNumberOfPlotSeriesNodes()):
            series = chart_node.GetNthPlotSeriesNode(index)
            line = chart.AddPlot(vtk.vtkChart.LINE)
            line.SetInputData(series.GetTableNode().GetTable(), series.GetXColumnName(), series.GetYColumnName())
            line.SetLabel(series.GetName())
            line.SetColorF(*series.GetColor())
            line.SetWidth(2.0)
        scene = vtk.vtkContextScene()
        scene.AddItem(chart)
        actor = vtk.vtkContextActor()
        actor.SetScene(scene)
        renderer = vtk.vtkRenderer()
        renderer.SetBackground(1.0, 1.0, 1.0)
        renderer.AddActor(actor)
        scene.SetRenderer(renderer)
        return self._drawn(renderer, self._window(renderer, SIZE))

    def _window(self, renderer, size):
        window = self.vtk.vtkRenderWindow()
        window.SetOffScreenRendering(1)
        window.SetMultiSamples(4)
        window.SetSize(size, size)
        window.AddRenderer(renderer)
        return window

    def _drawn(self, renderer, window):
        from vtk.util import numpy_support

        window.Render()
        grab = self.vtk.vtkWindowToImageFilter()
        grab.SetInput(window)
        grab.ReadFrontBufferOff()
        grab.Update()
        image = grab.GetOutput()
        width, height, _ = image.GetDimensions()
        return (
            numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[::-1, :, :3].copy()
        )


def write_window(panel: Path, views, path: Path) -> None:
    """Write the panel, as high as the views, with the views beside it: what a window of Slicer holds."""
    import numpy as np
    from PIL import Image

    left = np.asarray(Image.open(panel).convert("RGB"))[: len(views)]
    padded = np.full((len(views), left.shape[1], 3), left[-1, -1], np.uint8)
    padded[: len(left)] = left
    Image.fromarray(np.concatenate([padded, views], axis=1)).save(path)  # in all its colours: WebP follows
    sys.stdout.write(f"{path.name}\n")


if __name__ == "__main__":
    os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
    sys.exit(main())
