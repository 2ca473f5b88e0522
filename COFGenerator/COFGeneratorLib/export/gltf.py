"""Beating surfaces as binary glTF 2.0: one node a frame, shown in its turn by an animation of steps.

Vertices are in RAS mm; the root node turns them into glTF's metres with y up.
"""

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

MAGIC, VERSION, JSON_CHUNK, BINARY_CHUNK = b"glTF", 2, b"JSON", b"BIN\0"
FLOAT, UNSIGNED_INT = 5126, 5125
VERTICES, INDICES = 34962, 34963
MM_TO_Y_UP_M = (0.001, 0.0, 0.0, 0.0, 0.0, 0.0, -0.001, 0.0, 0.0, 0.001, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
"""Column by column: R → x, S → y, A → −z."""


class Surface(NamedTuple):
    """One structure of one frame: (n, 3) points and normals, float32, RAS mm, and (m, 3) triangles."""

    name: str
    colour: tuple[float, float, float, float]
    points: np.ndarray
    normals: np.ndarray
    triangles: np.ndarray


class _Buffer:
    """The binary part: arrays one after another, with the JSON that says where each is."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def add(self, array: np.ndarray, kind: str, component: int, target: int | None = None) -> int:
        """Append an array and return the index of its accessor."""
        view: dict[str, Any] = {"buffer": 0, "byteOffset": len(self.data), "byteLength": array.nbytes}
        self.views.append(view if target is None else view | {"target": target})
        self.data += np.ascontiguousarray(array).tobytes()  # both component types are four bytes: always aligned
        accessor: dict[str, Any] = {"bufferView": len(self.views) - 1, "componentType": component, "count": len(array)}
        rows = array.reshape(len(array), -1)
        bounds = {"min": rows.min(axis=0).tolist(), "max": rows.max(axis=0).tolist()}
        self.accessors.append(accessor | {"type": kind} | bounds)
        return len(self.accessors) - 1


def write_glb(
    path: Path,
    frames: Sequence[Sequence[Surface]],
    time_ms: np.ndarray,
    rr_ms: float,
    mark: str,
    facts: Mapping[str, Any],
) -> None:
    """Write ``.glb``.

    Args:
        path: File to write.
        frames: Surfaces of each frame, the same structures in each; one without triangles is left out.
        time_ms: (T,) times of the frames, ms.
        rr_ms: Length of the cycle, ms.
        mark: Words that say what it is: on the asset, the scene and every frame's node.
        facts: JSON-able, into the asset's ``extras``.
    """
    buffer = _Buffer()
    materials = [
        {
            "name": surface.name, "alphaMode": "OPAQUE" if surface.colour[3] == 1.0 else "BLEND", "doubleSided": True,
            "pbrMetallicRoughness": {"baseColorFactor": surface.colour, "metallicFactor": 0.0, "roughnessFactor": 0.7},
        }
        for surface in frames[0]
    ]  # fmt: skip
    nodes: list[dict[str, Any]] = [{"name": mark, "matrix": MM_TO_Y_UP_M, "children": list(range(1, len(frames) + 1))}]
    meshes: list[dict[str, Any]] = []
    for frame, surfaces in enumerate(frames):
        node: dict[str, Any] = {"name": f"{mark}, frame {frame}", "scale": [1.0 if frame == 0 else 0.0] * 3}
        primitives = [
            _primitive(buffer, surface, place) for place, surface in enumerate(surfaces) if len(surface.triangles)
        ]
        if primitives:
            meshes.append({"name": f"frame {frame}", "primitives": primitives})
            node["mesh"] = len(meshes) - 1
        nodes.append(node)
    content = {
        "asset": {"version": "2.0", "generator": "ChainOfFlow", "copyright": mark, "extras": dict(facts)},
        "scene": 0, "scenes": [{"name": mark, "nodes": [0]}], "nodes": nodes, "meshes": meshes, "materials": materials,
        "animations": [_animation(buffer, time_ms, rr_ms)], "accessors": buffer.accessors,
        "bufferViews": buffer.views, "buffers": [{"byteLength": len(buffer.data)}],
    }  # fmt: skip
    head = json.dumps(content, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 4)
    with path.open("wb") as file:
        file.write(struct.pack("<4sII", MAGIC, VERSION, 12 + 8 + len(head) + 8 + len(buffer.data)))
        file.write(struct.pack("<I4s", len(head), JSON_CHUNK) + head)
        file.write(struct.pack("<I4s", len(buffer.data), BINARY_CHUNK) + buffer.data)


def _primitive(buffer: _Buffer, surface: Surface, material: int) -> dict[str, Any]:
    length = np.linalg.norm(surface.normals, axis=1, keepdims=True)
    normals = np.where(length > 0, surface.normals / np.maximum(length, 1e-12), (0.0, 0.0, 1.0))
    return {
        "attributes": {
            "POSITION": buffer.add(surface.points.astype(np.float32), "VEC3", FLOAT, VERTICES),
            "NORMAL": buffer.add(normals.astype(np.float32), "VEC3", FLOAT, VERTICES),
        },
        "indices": buffer.add(surface.triangles.astype(np.uint32).ravel(), "SCALAR", UNSIGNED_INT, INDICES),
        "material": material,
    }


def _animation(buffer: _Buffer, time_ms: np.ndarray, rr_ms: float) -> dict[str, Any]:
    """Return the animation: each frame has its size at its time and none at the others, without anything between."""
    times_s = np.append(time_ms, rr_ms).astype(np.float32) / 1000.0
    clock = buffer.add(times_s, "SCALAR", FLOAT)
    samplers, channels = [], []
    for frame in range(len(time_ms)):
        shown = np.zeros((len(times_s), 3), np.float32)
        shown[frame] = 1.0
        shown[-1] = shown[0]
        samplers.append({"input": clock, "interpolation": "STEP", "output": buffer.add(shown, "VEC3", FLOAT)})
        channels.append({"sampler": frame, "target": {"node": frame + 1, "path": "scale"}})
    return {"name": "one R-R", "samplers": samplers, "channels": channels}
