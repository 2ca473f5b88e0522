"""A MONAI bundle as a segmenter: its network, its preprocessing and its way of sliding a window, read as data.

MONAI's own way to use a bundle evaluates the Python expressions in its configuration. Here three of its tables are read
(``network_def``, ``preprocessing``, ``inferer``) and hold plain values and the names of MONAI's own classes alone.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from COFGeneratorLib.anatomy.segmenters.foreign_files import read_table
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.errors import AnatomyError
from COFGeneratorLib.files import sha256_of

if TYPE_CHECKING:
    from monai.data import MetaTensor
    from monai.inferers import Inferer

METADATA, INFERENCE = "configs/metadata.json", "configs/inference.json"
TENSORS, SCRIPT = "model.safetensors", "model.ts"
DONE_BY_US = ("LoadImaged", "EnsureChannelFirstd", "EnsureTyped", "CastToTyped", "ToTensord", "AddChanneld")
TRANSFORMS = (
    "Spacingd", "Resized", "SpatialPadd", "DivisiblePadd", "CropForegroundd", "ScaleIntensityd",
    "ScaleIntensityRanged", "ScaleIntensityRangePercentilesd", "NormalizeIntensityd",
)  # fmt: skip
"""Steps before the network that are arithmetic on one image; those that move voxels are taken back afterwards."""
NETWORKS = (
    "UNet", "DynUNet", "BasicUNet", "BasicUNetPlusPlus", "AttentionUnet", "SegResNet", "SegResNetDS", "VNet", "UNETR",
    "SwinUNETR", "HighResNet", "MedNeXt",
)  # fmt: skip
"""MONAI's networks of segmentation that are built from their settings alone; others fetch weights by themselves."""
INFERERS = ("SimpleInferer", "SlidingWindowInferer", "SliceInferer")
TURN = "Orientationd"
"""Done here, because MONAI's own needs nibabel for it."""
DIRECTIONS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
EXPRESSIONS = ("$", "%", "@")
"""First signs of strings that MONAI would evaluate or look up."""
IMAGE = "image"


class MonaiBundle:
    """The network of a bundle.

    Args:
        folder: Holds ``configs/metadata.json``, ``configs/inference.json`` and ``models/model.ts`` or
            ``models/model.safetensors``.
        device: Where it runs.

    Raises:
        AnatomyError: If something is missing, does not fit, or would need code of the bundle.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        metadata, self.settings = (read_table(folder, name, "A MONAI bundle") for name in (METADATA, INFERENCE))
        self.device = torch.device(device)
        self.names, self.count, self.planar = _formats(metadata)
        self.transforms = _transforms(self.settings)
        self.inferer = _inferer(self.settings, metadata, self.planar)
        weights, network = _network(folder, self.settings)
        self.network = network.to(self.device).eval()
        self.described: dict[str, Any] = {
            "kind": f"MONAI bundle {metadata.get('name', folder.resolve().name)} {metadata.get('version', '')}".strip(),
            "weights_sha256": sha256_of(weights),
        }

    @torch.inference_mode()
    def classes(self, stack: SaxStack) -> np.ndarray:
        """Return (C, D, H, W) probabilities.

        Raises:
            AnatomyError: If the network does not take such a stack, or gives another number of classes.
        """
        from monai.data import MetaTensor

        voxels = torch.from_numpy(stack.voxels.transpose(2, 1, 0).copy())[None]  # MONAI's axes are (i, j, k), RAS
        ready = {IMAGE: MetaTensor(voxels, affine=torch.from_numpy(stack.ijk_to_ras.copy()))}
        for step in self.transforms:
            ready = step(ready)
        ready = ready[IMAGE]
        try:
            logits = self.inferer(ready.as_tensor()[None].float().to(self.device), self.network)
            logits = logits[0] if isinstance(logits, tuple | list) else logits
        except (RuntimeError, ValueError, TypeError) as error:
            raise AnatomyError(
                f"The bundle's network should take a stack of {tuple(ready.shape[1:])} voxels; it failed: "
                f"{str(error).splitlines()[0]}. Check roi_size and the preprocessing in {INFERENCE}."
            ) from error
        if logits.ndim != 5 or logits.shape[1] != self.count:
            raise AnatomyError(
                f"The bundle's network should give {self.count} classes ({METADATA}); found an answer of shape "
                f"{tuple(logits.shape)}. Correct its metadata."
            )
        found = MetaTensor(logits[0].softmax(dim=0).cpu(), meta=ready.meta, applied_operations=ready.applied_operations)
        native = {IMAGE: found}
        for step in reversed(self.transforms):
            native = step.inverse(native) if hasattr(step, "inverse") else native
        return np.ascontiguousarray(np.asarray(native[IMAGE]).transpose(0, 3, 2, 1), dtype=np.float32)


class Turn:
    """Orders and flips an image's axes so that they point as near as can be to directions such as "RAS", and back."""

    def __init__(self, axcodes: str = "RAS", **_: Any) -> None:
        self.wanted = [DIRECTIONS[letter] for letter in axcodes]
        if sorted(axis for axis, _ in self.wanted) != [0, 1, 2]:
            raise ValueError(f"axcodes {axcodes!r} name no three directions")
        self._done: tuple[list[int], list[int]] = ([0, 1, 2], [])

    def __call__(self, data: dict[str, Any]) -> dict[str, Any]:
        """Turn the image (C, i, j, k)."""
        image = data[IMAGE]
        affine = image.affine.numpy().astype(float)
        left, _, right = np.linalg.svd(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
        nearest, points = left @ right, {}
        for axis in range(3):
            world = int(np.abs(nearest[:, axis]).argmax())
            points[world] = (axis, np.sign(nearest[world, axis]))
            nearest[world] = 0.0
        order = [points[world][0] for world, _ in self.wanted]
        flips = [n for n, (world, sign) in enumerate(self.wanted) if points[world][1] != sign]
        back = np.zeros((4, 4))  # index of the turned image → index of the stored one
        back[3, 3] = 1.0
        for n, axis in enumerate(order):
            back[axis, n] = -1.0 if n in flips else 1.0
            back[axis, 3] = image.shape[axis + 1] - 1 if n in flips else 0.0
        self._done = (order, flips)
        turned = image.as_tensor().permute(0, *(axis + 1 for axis in order)).flip([n + 1 for n in flips])
        return {IMAGE: _like(turned, image, torch.from_numpy(affine @ back))}

    def inverse(self, data: dict[str, Any]) -> dict[str, Any]:
        """Turn what came of the last image (C', i, j, k) back."""
        order, flips = self._done
        image = data[IMAGE].as_tensor().flip([n + 1 for n in flips])
        return {IMAGE: _like(image.permute(0, *(order.index(axis) + 1 for axis in range(3))), data[IMAGE], None)}


def _like(voxels: torch.Tensor, image: "MetaTensor", affine: torch.Tensor | None) -> "MetaTensor":
    """Return voxels as an image with the steps done to another, so that these can be taken back."""
    from monai.data import MetaTensor

    return MetaTensor(voxels, affine=affine, meta=dict(image.meta), applied_operations=image.applied_operations)


def _formats(metadata: dict[str, Any]) -> tuple[dict[str, int], int, bool]:
    """Return the classes by name, how many there are, and whether the network sees single slices."""
    try:
        formats = metadata["network_data_format"]
        (image,), (answer,) = formats["inputs"].values(), formats["outputs"].values()
        channels, count, shape = int(image["num_channels"]), int(answer["num_channels"]), list(image["spatial_shape"])
        names = {str(name): int(code) for code, name in answer.get("channel_def", {}).items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise AnatomyError(
            "A bundle's metadata must describe one image in and one answer out (network_data_format); found "
            f"{type(error).__name__}: {error}. Complete {METADATA}."
        ) from error
    if channels != 1 or count < 2 or len(shape) not in (2, 3):
        raise AnatomyError(
            f"A segmenter takes one channel in 2-D or 3-D and gives two classes or more; this bundle has {channels} "
            f"in, {count} out, in {len(shape)}-D. Give another bundle."
        )
    return names, count, len(shape) == 2


def _plain(table: Any, where: str) -> Any:
    """Return a value of the configuration, refusing what MONAI would evaluate.

    Raises:
        AnatomyError: If there is a Python expression or a reference in it.
    """
    if isinstance(table, dict):
        return {name: _plain(value, f"{where}.{name}") for name, value in table.items()}
    if isinstance(table, list):
        return [_plain(value, where) for value in table]
    if isinstance(table, str) and table.startswith(EXPRESSIONS):
        raise AnatomyError(
            f"A bundle is used as data, and no code in it is run; {where} in {INFERENCE} is the expression {table!r}. "
            "Write its value there, or give a bundle without expressions in network_def, preprocessing and inferer."
        )
    return table


def _target(table: Any, module: str, where: str) -> str:
    """Return the name of MONAI's class that a table asks for."""
    target = str(table.get("_target_", "")) if isinstance(table, dict) else ""
    name = target.rsplit(".", 1)[-1]
    if not name or (name != target and not target.startswith(f"{module}.")):
        raise AnatomyError(
            f"{where} in {INFERENCE} should name a class of {module}; found {target or table!r}. A bundle that brings "
            "code of its own is not used."
        )
    return name


def _transforms(settings: dict[str, Any]) -> list[Callable[[dict[str, Any]], dict[str, Any]]]:
    """Return MONAI's transforms before the network."""
    from monai import transforms

    listed = settings.get("preprocessing", {})
    listed = listed.get("transforms", []) if isinstance(listed, dict) else listed
    steps = []
    for number, table in enumerate(listed if isinstance(listed, list) else [listed]):
        where = f"preprocessing step {number + 1}"
        name = _target(table, "monai.transforms", where)
        if name in DONE_BY_US:
            continue
        if name not in (TURN, *TRANSFORMS):
            raise AnatomyError(
                f"Preprocessing may use {', '.join((TURN, *TRANSFORMS))}; {where} of the bundle is {name}. Give a "
                "bundle without it, or label the anchor with the bundle yourself and give --labels."
            )
        given = {key: value for key, value in _plain(table, where).items() if not key.startswith("_")}
        try:
            kind = Turn if name == TURN else getattr(transforms, name)
            steps.append(kind(**{**given, "keys": IMAGE}))
        except (KeyError, TypeError, ValueError) as error:
            raise AnatomyError(
                f"{where} ({name}) of the bundle cannot be made: {error}. Correct {INFERENCE}."
            ) from error
    return steps


def _inferer(settings: dict[str, Any], metadata: dict[str, Any], planar: bool) -> "Inferer":
    """Return how the network is led over an image."""
    from monai import inferers

    table = settings.get("inferer", {"_target_": "SimpleInferer"})
    name = _target(table, "monai.inferers", "inferer")
    if name not in INFERERS:
        raise AnatomyError(f"A bundle's inferer is one of {', '.join(INFERERS)}; found {name}. Give another bundle.")
    given = {key: value for key, value in table.items() if key in ("roi_size", "sw_batch_size", "overlap", "mode")}
    given = _plain(given, "inferer")
    if planar:
        (image,) = metadata["network_data_format"]["inputs"].values()
        roi = given.pop("roi_size", image["spatial_shape"])[:2]
        return inferers.SliceInferer(roi_size=roi, spatial_dim=2, sw_batch_size=8, **_only(given, "overlap", "mode"))
    if name == "SlidingWindowInferer":
        return inferers.SlidingWindowInferer(**{"sw_batch_size": 1, **given})
    return inferers.SimpleInferer()


def _only(table: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: table[name] for name in names if name in table}


def _network(folder: Path, settings: dict[str, Any]) -> tuple[Path, torch.nn.Module]:
    """Return the file of the weights and the network."""
    models = folder / "models"
    weights = next((models / name for name in (TENSORS, SCRIPT) if (models / name).is_file()), None)
    if weights is None:
        there = ", ".join(sorted(path.name for path in models.glob("model*"))) or "nothing"
        raise AnatomyError(
            f"A bundle's weights are read from models/model.ts or models/model.safetensors; found {there}. A model.pt "
            "is a pickle: export it with python -m monai.bundle ckpt_export, or save its tensors as safetensors."
        )
    try:
        if weights.name == SCRIPT:
            return weights, torch.jit.load(str(weights), map_location="cpu")
        from monai.networks import nets
        from safetensors.torch import load_file

        table = _plain(settings.get("network_def", {}), "network_def")
        name = _target(table, "monai.networks.nets", "network_def")
        if name not in NETWORKS:
            raise AnatomyError(
                f"A bundle's network_def is one of {', '.join(NETWORKS)}; found {name}. Give its weights as model.ts."
            )
        network = getattr(nets, name)(**{key: value for key, value in table.items() if not key.startswith("_")})
        network.load_state_dict(load_file(weights))
    except AnatomyError:
        raise
    except Exception as error:  # torch, safetensors and MONAI each raise their own kinds
        raise AnatomyError(
            f"The weights of a bundle must fit its network_def; found {type(error).__name__}: "
            f"{str(error).splitlines()[0]}. Copy the bundle again."
        ) from error
    return weights, network
