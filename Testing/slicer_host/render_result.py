"""Pictures of a result in Slicer's slice and 3-D views, drawn off screen by the displayable managers of slicer-core.

    python Testing/slicer_host/render_result.py RESULT_FOLDER --out out/pictures/large

The result is what ``cof generate`` or ``cof demo`` writes; ``make pictures`` shrinks the pictures for the
documents. Layout, window frames and annotations belong to the desktop and are not in these pictures.
"""

import argparse
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(Path(__file__).resolve().parent), str(ROOT / "COFGenerator")]
SIZE = 360
"""Width and height of one view, pixels."""

FIELD_MM = 170.0


def main() -> int:
    """Make ``result-slices.png`` and ``result-3d.png``."""
    parser = argparse.ArgumentParser(description="Draw a result in Slicer's views.")
    parser.add_argument("result", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "pictures" / "large")
    arguments = parser.parse_args()
    from COFGeneratorLib.scene import load_result, standalone_scene

    with standalone_scene() as scene:
        nodes = load_result(arguments.result, scene)
        es_frame = int(nodes.facts.get("es_frame") or nodes.cine.GetNumberOfDataNodes() // 3)
        views = Views(scene)
        slices, bodies = [], []
        for frame in (0, es_frame):
            nodes.show_frame(frame)
            slices += [views.slice_picture(nodes, along) for along in ("short axis", "long axis")]
            bodies.append(views.body_picture(nodes))
        write_row(slices, arguments.out / "result-slices.png")
        write_row(bodies, arguments.out / "result-3d.png")
    return 0


class Views:
    """Slice and 3-D views over a scene.

    Args:
        scene: vtkMRMLScene.
    """

    def __init__(self, scene):
        import slicer
        import vtk

        self.slicer, self.vtk, self.scene = slicer, vtk, scene
        self.application = slicer.vtkMRMLApplicationLogic()
        self.application.SetMRMLScene(scene)
        self._count = 0

    def slice_picture(self, nodes, along: str):
        """Return the picture of a slice through the heart: short axis, or the plane through the long axis."""
        import numpy as np
        from COFGeneratorLib.scene.volumes import ijk_to_ras_of, volume_array

        slicer, vtk = self.slicer, self.vtk
        cine, labels = nodes.proxy("cine"), nodes.proxy("labels")
        matrix = ijk_to_ras_of(cine)
        k, j, i = np.nonzero(volume_array(labels) == 1)
        centre = (matrix @ [i.mean(), j.mean(), k.mean(), 1.0])[:3]
        axes = axes_of(labels)
        short = along == "short axis"
        right, up, normal = (axes[:, 0], -axes[:, 1], axes[:, 2]) if short else (axes[:, 0], axes[:, 2], axes[:, 1])
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(self.application)
        logic.SetMRMLScene(self.scene)
        self._count += 1
        logic.AddSliceNode(f"Cof{self._count}")
        node, composite = logic.GetSliceNode(), logic.GetSliceCompositeNode()
        to_ras = vtk.vtkMatrix4x4()
        for row in range(3):
            for column, vector in enumerate((right, up, normal, centre)):
                to_ras.SetElement(row, column, float(vector[row]))
        node.GetSliceToRAS().DeepCopy(to_ras)
        node.SetDimensions(SIZE, SIZE, 1)
        node.SetFieldOfView(FIELD_MM, FIELD_MM, 1.0)
        node.SetUseLabelOutline(True)
        node.UpdateMatrices()
        composite.SetBackgroundVolumeID(cine.GetID())
        composite.SetLabelVolumeID(labels.GetID())
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
        picture = self._drawn(renderer)
        logic.SetMRMLScene(None)
        return picture

    def body_picture(self, nodes):
        """Return the picture of the labels' surfaces in a 3-D view."""
        import numpy as np
        from COFGeneratorLib.scene.surfaces import show_surfaces

        slicer, vtk = self.slicer, self.vtk
        models = show_surfaces(self.scene, nodes)
        view = self.scene.GetFirstNodeByClass("vtkMRMLViewNode")
        if view is None:
            view = self.scene.AddNewNodeByClass("vtkMRMLViewNode")
            view.SetBoxVisible(False)
            view.SetAxisLabelsVisible(False)
        renderer = vtk.vtkRenderer()
        renderer.SetBackground(0.76, 0.76, 0.91)
        renderer.SetBackground2(0.45, 0.47, 0.75)
        renderer.GradientBackgroundOn()
        window = self._window(renderer)
        interactor = vtk.vtkGenericRenderWindowInteractor()
        interactor.SetRenderWindow(window)
        factory = slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance()
        factory.SetMRMLApplicationLogic(self.application)
        for name in ("vtkMRMLModelDisplayableManager",):
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        group = factory.InstantiateDisplayableManagers(renderer)
        group.SetMRMLDisplayableNode(view)
        axes = axes_of(nodes.proxy("labels"))
        bounds = np.array([0.0] * 6)
        models[1].GetRASBounds(bounds)
        centre = bounds.reshape(3, 2).mean(axis=1)
        eye = centre - 300.0 * axes[:, 1] + 130.0 * axes[:, 2] - 90.0 * axes[:, 0]
        camera = renderer.GetActiveCamera()
        camera.SetFocalPoint(*centre)
        camera.SetPosition(*eye)
        camera.SetViewUp(*axes[:, 2])
        camera.SetViewAngle(27.0)
        renderer.ResetCameraClippingRange()
        picture = self._drawn(renderer, window)
        group.SetMRMLDisplayableNode(None)
        return picture

    def _window(self, renderer):
        window = self.vtk.vtkRenderWindow()
        window.SetOffScreenRendering(1)
        window.SetMultiSamples(4)
        window.SetSize(SIZE, SIZE)
        window.AddRenderer(renderer)
        return window

    def _drawn(self, renderer, window=None):
        from vtk.util import numpy_support

        window = window or self._window(renderer)
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


def axes_of(labels):
    """Return the stack's axes (i, j, towards the base) as columns, RAS: the cavity is wider at the base."""
    import numpy as np
    from COFGeneratorLib.scene.volumes import ijk_to_ras_of, volume_array

    area = (volume_array(labels) == 1).sum(axis=(1, 2))
    held = np.flatnonzero(area)
    axes = ijk_to_ras_of(labels)[:3, :3]
    axes = axes / np.linalg.norm(axes, axis=0)
    third = max(len(held) // 3, 1)
    return axes * (1.0, 1.0, 1.0 if area[held[-third:]].sum() > area[held[:third]].sum() else -1.0)


def write_row(pictures, path: Path) -> None:
    """Write pictures side by side: end-diastole first, then end-systole."""
    import numpy as np
    from pictures import write_small

    size = write_small(np.concatenate(pictures, axis=1), path)
    sys.stdout.write(f"{path.name} {len(pictures)} views, {size / 1000:.0f} kB\n")


if __name__ == "__main__":
    os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
    sys.exit(main())
