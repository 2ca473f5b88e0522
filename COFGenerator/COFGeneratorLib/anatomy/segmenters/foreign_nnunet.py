"""An nnU-Net v2 model folder (Isensee et al. 2021), run by the user's own nnunetv2 package in this process.

The package's own loader unpickles checkpoints; here they are read with ``weights_only=True`` and handed to its
predictor, so a checkpoint cannot run anything. Classes that ``plans.json`` names are taken from the package alone.
"""

import hashlib
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import torch

from COFGeneratorLib.anatomy.segmenters.foreign_files import read_table
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.errors import AnatomyError

CHECKPOINTS = ("checkpoint_final.pth", "checkpoint_best.pth")
ARCHITECTURES, OPERATIONS = "dynamic_network_architectures.", "torch.nn."
"""Where the classes of a plan may come from; anything else named there would be code of the folder's author."""
NUMBERS = (np.float64().__reduce__()[0], np.dtype, *{type(np.dtype(kind)) for kind in "fdilqbBLQ?"})
"""What makes NumPy's plain numbers, which nnU-Net's training log holds beside the weights; they are data."""


class NnUnet:
    """The network of a model folder; all its folds vote.

    Args:
        folder: Holds ``plans.json``, ``dataset.json`` and ``fold_*/checkpoint_final.pth``.
        device: Where it runs.

    Raises:
        AnatomyError: If the folder does not fit, needs more than one image or a stage before, or nnunetv2 is missing.
    """

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        plans, dataset = (read_table(folder, name, "An nnU-Net model") for name in ("plans.json", "dataset.json"))
        self.names = _names(dataset)
        files = _checkpoints(folder)
        checkpoints = [_checkpoint(path) for path in files]
        configuration = str(checkpoints[0]["init_args"]["configuration"])
        _check_plans(plans, configuration)
        self.predictor = make_predictor(plans, dataset, configuration, checkpoints, device)
        digest = hashlib.sha256()
        for path in files:
            digest.update(path.read_bytes())
        self.described: dict[str, Any] = {
            "kind": f"nnU-Net v2, {configuration}, {len(files)} fold{'s' if len(files) > 1 else ''}",
            "weights_sha256": digest.hexdigest(),
        }

    def classes(self, stack: SaxStack) -> np.ndarray:
        """Return (C, D, H, W) probabilities; the stack goes in as it is stored, in SimpleITK's order of axes."""
        spacing = [float(step) for step in stack.spacing_mm]
        _, probabilities = self.predictor.predict_single_npy_array(
            stack.voxels[None], {"spacing": spacing}, None, None, True
        )
        return np.asarray(probabilities, dtype=np.float32)


def make_predictor(plans: dict, dataset: dict, configuration: str, checkpoints: list[dict], device: str) -> Any:
    """Return nnU-Net's own predictor with the weights of some checkpoints.

    Raises:
        AnatomyError: If nnunetv2 is not installed, or the weights do not fit the plans.
    """
    try:
        import nnunetv2
        from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
        from nnunetv2.utilities.find_class_by_name import recursive_find_python_class
        from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
        from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
    except ImportError as error:
        raise AnatomyError(
            f"An nnU-Net model is run by the package nnunetv2; found none that can be imported ({error}). Install it "
            "beside ChainOfFlow (pip install nnunetv2), or give a MONAI bundle or --labels."
        ) from error
    manager = PlansManager(plans)
    settings = manager.get_configuration(configuration)
    trainers = Path(nnunetv2.__path__[0]) / "training" / "nnUNetTrainer"
    name = str(checkpoints[0]["trainer_name"])
    trainer = recursive_find_python_class(str(trainers), name, "nnunetv2.training.nnUNetTrainer")
    if trainer is None:
        raise AnatomyError(
            f"The trainer of an nnU-Net model must be one of the package's; {name!r} is none. Use a model of a "
            "standard trainer, or put the trainer into the package yourself."
        )
    try:
        build = trainer.build_network_architecture
        described: tuple[Any, ...] = (
            settings.network_arch_class_name, settings.network_arch_init_kwargs,
            settings.network_arch_init_kwargs_req_import,
        )  # fmt: skip
        if "plans_manager" in inspect.signature(build).parameters:  # from nnunetv2 2.8 on
            described = manager, settings
        network = build(
            *described,
            determine_num_input_channels(manager, settings, dataset),
            manager.get_label_manager(dataset).num_segmentation_heads,
            enable_deep_supervision=False,
        )
        weights = [checkpoint["network_weights"] for checkpoint in checkpoints]
        network.load_state_dict(weights[0])
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        raise AnatomyError(
            f"The weights of an nnU-Net model must fit its plans.json; found: {error}. Copy the model folder again."
        ) from error
    predictor = nnUNetPredictor(device=torch.device(device), allow_tqdm=False)
    mirror = checkpoints[0].get("inference_allowed_mirroring_axes")
    predictor.manual_initialization(network, manager, settings, weights, dataset, name, mirror)
    return predictor


def _names(dataset: dict[str, Any]) -> dict[str, int]:
    """Return the classes by name."""
    channels = dataset.get("channel_names", dataset.get("modality", {}))
    if len(channels) != 1:
        raise AnatomyError(
            f"A segmenter of short-axis stacks takes one image; this nnU-Net model takes {len(channels)}: "
            f"{', '.join(map(str, channels.values()))}. Give a model of one channel."
        )
    labels = dataset.get("labels", {})
    if not labels or not all(isinstance(code, int) for code in labels.values()):
        raise AnatomyError(
            "An nnU-Net model should label each voxel with one class (labels in dataset.json are numbers); found "
            f"{labels or 'none'}. A model of regions cannot be used: give one of plain labels."
        )
    return {str(name): int(code) for name, code in labels.items()}


def _checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoint of every fold, else of ``fold_all``."""
    for name in CHECKPOINTS:
        found = sorted(folder.glob(f"fold_[0-9]*/{name}")) or sorted(folder.glob(f"fold_all/{name}"))
        if found:
            return found
    raise AnatomyError(
        f"An nnU-Net model needs fold_0/{CHECKPOINTS[0]} (or other folds, or fold_all); found none in {folder}. Name "
        "the folder of one trainer and configuration, such as nnUNetTrainer__nnUNetPlans__3d_fullres."
    )


def _checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without unpickling anything but tensors and numbers."""
    try:
        with torch.serialization.safe_globals(list(NUMBERS)):
            content = torch.load(path, map_location="cpu", weights_only=True)
        content["network_weights"], content["trainer_name"], content["init_args"]["configuration"]
    except Exception as error:  # torch, zipfile and pickle each raise their own kinds
        raise AnatomyError(
            f"A checkpoint is read without running anything in it (torch.load, weights_only=True); {path} does not "
            f"read so ({type(error).__name__}: {str(error).splitlines()[0]}). If you trust it, save it again from "
            "Python with network_weights, trainer_name, init_args and inference_allowed_mirroring_axes alone."
        ) from error
    return content


def _check_plans(plans: dict[str, Any], configuration: str) -> None:
    """Refuse a cascade, and plans that name classes of anybody but nnU-Net and torch."""
    settings = plans.get("configurations", {}).get(configuration)
    if not isinstance(settings, dict):
        raise AnatomyError(
            f"plans.json must hold the configuration {configuration!r} that the checkpoint was trained with; found "
            f"{', '.join(plans.get('configurations', {})) or 'none'}. Copy the model folder again."
        )
    if settings.get("previous_stage"):
        raise AnatomyError(
            f"A segmenter labels a stack by itself; {configuration} needs the result of {settings['previous_stage']}. "
            "Give the model folder of 2d, 3d_fullres or 3d_lowres."
        )
    architecture = settings.get("architecture") or {}
    named = [str(architecture.get("network_class_name", ARCHITECTURES))]
    arguments = architecture.get("arch_kwargs", {})
    wanted = [str(arguments[key]) for key in architecture.get("_kw_requires_import", []) if arguments.get(key)]
    strange = [name for name in named if not name.startswith(ARCHITECTURES)]
    strange += [name for name in wanted if not name.startswith(OPERATIONS)]
    if strange:
        raise AnatomyError(
            f"Plans may name networks of {ARCHITECTURES}* and operations of {OPERATIONS}*; found {', '.join(strange)}. "
            "Such a model brings code of its own and is not used."
        )
