"""Results as real MRML: built, written and read back, inside Slicer and without it.

Nothing of ``slicer`` or ``vtk`` is imported until a function needs it.
"""

from COFGeneratorLib.lazy import public

__getattr__, __all__ = public(
    __name__,
    {
        "COFGeneratorLib.scene.files": "write_scene load_result read_scene",
        "COFGeneratorLib.scene.result": "build_result find_results ResultNodes",
        "COFGeneratorLib.scene.bootstrap": "standalone_scene",
    },
)
