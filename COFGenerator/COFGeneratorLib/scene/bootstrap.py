"""A MRML scene with the few module logics that results need, where no Slicer application provides one.

Needs the ``slicer`` Python package: inside Slicer and its ``PythonSlicer`` interpreter it is there, elsewhere the wheel
``slicer-core`` brings it.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

from COFGeneratorLib.errors import SceneError


def import_slicer() -> Any:
    """Return the ``slicer`` package.

    Raises:
        SceneError: If it is not installed.
    """
    try:
        import slicer
    except ImportError as error:
        raise SceneError(
            f"Writing or reading a Slicer scene needs the package 'slicer'; found none ({error}). "
            "Run inside 3D Slicer, or install it with: pip install slicer-core"
        ) from error
    return slicer


@contextlib.contextmanager
def standalone_scene() -> Iterator[Any]:
    """Give an empty, private MRML scene with sequence, colour and file handling; clear it on exit.

    Proxy nodes, default display nodes and ``.mrb`` files exist only because logics observe the scene; here they are
    the same C++ classes that the application uses. The application's own scene, if any, is not touched.

    Example:
        >>> with standalone_scene() as scene:  # doctest: +SKIP
        ...     nodes = read_scene("out/scene.mrb", scene)
    """
    slicer = import_slicer()
    cache = tempfile.mkdtemp(prefix="cof-scene-")
    scene = slicer.vtkMRMLScene()
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    colours = slicer.vtkMRMLColorLogic()
    colours.SetMRMLScene(scene)
    sequences = slicer.vtkSlicerSequencesLogic()
    sequences.SetMRMLApplicationLogic(application)
    sequences.SetMRMLScene(scene)

    # .mrb archives are unpacked through the data manager's cache folder.
    remote = slicer.vtkMRMLRemoteIOLogic()
    remote.GetCacheManager().SetRemoteCacheDirectory(cache)
    remote.SetMRMLScene(scene)
    data = slicer.vtkDataIOManagerLogic()
    data.SetMRMLApplicationLogic(application)
    data.SetAndObserveDataIOManager(remote.GetDataIOManager())
    data.SetMRMLScene(scene)
    remote.AddDataIOToScene()
    try:
        yield scene
    finally:
        remote.RemoveDataIOFromScene()
        scene.Clear(1)
        for logic in (sequences, data, remote, colours, application):
            logic.SetMRMLScene(None)
        shutil.rmtree(cache, ignore_errors=True)


def resolve_scene(scene: Any = None) -> Any:
    """Return ``scene``, or the running application's scene.

    Raises:
        SceneError: If none was given and no application is running.
    """
    if scene is None:
        scene = getattr(import_slicer(), "mrmlScene", None)
    if scene is None:
        raise SceneError(
            "A MRML scene is needed; found none, because no Slicer application is running. "
            "Open one with COFGeneratorLib.scene.standalone_scene()."
        )
    return scene


def nodes_of_class(scene: Any, class_name: str) -> list[Any]:
    """Return the nodes of a class and of those derived from it, in the order of the scene."""
    collection = scene.GetNodesByClass(class_name)
    collection.UnRegister(None)
    return items_of(collection)


def items_of(collection: Any) -> list[Any]:
    """Return what a vtkCollection holds."""
    return [collection.GetItemAsObject(index) for index in range(collection.GetNumberOfItems())]


def update_proxies(browser: Any) -> None:
    """Bring a browser's proxy nodes to its selected item.

    The application does this by a timer; without one the logic has to be asked. The logic is stateless here, so a
    private one serves any scene.
    """
    slicer = import_slicer()
    slicer.vtkSlicerSequencesLogic().UpdateProxyNodesFromSequences(browser)
