"""A user's own segmenter in place of ours: an nnU-Net v2 model folder, or a MONAI bundle, behind the same contract.

Nothing in such a folder is run or unpickled: weights are tensors (safetensors, TorchScript, or a checkpoint that reads
with ``weights_only=True``), and configurations are read as data. What needs more is refused, in words.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from COFGeneratorLib.anatomy.heart_frame import heart_frame_from_labels
from COFGeneratorLib.anatomy.readers.labels import check_label_map
from COFGeneratorLib.anatomy.roi import MARGIN_MM, Roi, check_heart_in, check_on_stack
from COFGeneratorLib.anatomy.segmenters.clean_labels import clean_labels
from COFGeneratorLib.anatomy.segmenters.segmenter import Segmentation, Segmenter, StackSegmenter, confidence_of
from COFGeneratorLib.anatomy.stack import LABELS, SaxStack
from COFGeneratorLib.errors import AnatomyError

NAMES = {
    "lv": ("lv", "lvc", "lvcavity", "lvcav", "lvpool", "lvbloodpool", "lvblood", "lvbp", "lvendo", "leftventricle",
           "leftventricularcavity", "leftventriclecavity", "leftventricularbloodpool", "leftventricularpool"),
    "myo": ("myo", "myocardium", "lvm", "mlv", "lvmyo", "lvmyocardium", "leftventricularmyocardium",
            "leftventriclemyocardium", "myocard", "lvwall"),
    "rv": ("rv", "rvc", "rvcavity", "rvcav", "rvpool", "rvbloodpool", "rvblood", "rvbp", "rvendo", "rightventricle",
           "rightventricularcavity", "rightventriclecavity", "rightventricularbloodpool", "rightventricularpool"),
}  # fmt: skip
"""What public data sets call the three structures, without case and signs."""
HOW = 'Say which is which, as in --segmenter-labels "lv=3,myo=2,rv=1".'


class ClassNetwork(Protocol):
    """What each kind of folder gives: probabilities of its own classes, and what it is."""

    names: dict[str, int]
    described: dict[str, Any]

    def classes(self, stack: SaxStack) -> np.ndarray:
        """Return (C, D, H, W) float32 probabilities on the stack's grid."""
        ...


class ForeignSegmenter:
    """A network of others as a ``StackSegmenter``; classes without a code for "lv", "myo" or "rv" are background."""

    def __init__(self, network: ClassNetwork, codes: Mapping[str, int]) -> None:
        self.network, self.codes = network, dict(codes)

    @property
    def described(self) -> dict[str, Any]:
        """What it is, for ``run.json``: kind, weights by hash, codes."""
        return {**self.network.described, "codes": self.codes}

    def segment(self, stack: SaxStack, roi: Roi | None = None) -> Segmentation:
        """Label a stack, which the network is given as it is stored; what lies outside ``roi`` is taken for background.

        Raises:
            AnatomyError: If the network gives something else than its classes, or labels no heart.
        """
        if roi is not None:
            check_on_stack(roi, stack.shape, stack.ijk_to_ras)
        classes = np.asarray(self.network.classes(stack), dtype=np.float32)
        most = max(self.codes.values())
        if classes.ndim != 4 or classes.shape[1:] != stack.shape or len(classes) <= most:
            raise AnatomyError(
                f"A segmenter should give probabilities of at least {most + 1} classes on the stack's grid "
                f"{stack.shape}; this one gave {classes.shape}. Check its folder and its label codes."
            )
        probabilities = np.zeros((4, *stack.shape), dtype=np.float32)
        for name, code in self.codes.items():
            probabilities[LABELS[name]] = classes[code]
        if roi is not None:
            probabilities[:, ~roi.mask(stack.shape, stack.ijk_to_ras, MARGIN_MM)] = 0.0
        probabilities[0] = np.clip(1.0 - probabilities[1:].sum(axis=0), 0.0, 1.0)
        labels = clean_labels(probabilities.argmax(axis=0).astype(np.uint8), stack.spacing_mm)
        frame = heart_frame_from_labels(labels, stack.ijk_to_ras)
        if roi is not None:
            check_heart_in(roi, labels, stack.ijk_to_ras, "segmenter")
        return Segmentation(labels, probabilities, frame, confidence_of(probabilities, labels))


def load_segmenter(
    folder: Path | str, label_map: Mapping[str, int] | None = None, device: str = "cpu"
) -> StackSegmenter:
    """Load a segmenter of any kind.

    Args:
        folder: An nnU-Net v2 model folder (``plans.json``, ``dataset.json``, ``fold_*``), a MONAI bundle
            (``configs/metadata.json`` …), or a segmenter of ours (``segmenter.json``, or a run or bundle that has one).
        label_map: The network's class of "lv", "myo" and "rv"; found by the names of its classes where None.
        device: Where it runs.

    Raises:
        AnatomyError: If it is none of these, does not read without running or unpickling something, or its classes
            cannot be told apart.
    """
    folder = Path(folder)
    for place in (folder, folder / "segmenter", folder / "models" / "segmenter"):
        if (place / "segmenter.json").is_file():
            return Segmenter.from_files(place, device)
    if (folder / "plans.json").is_file() and (folder / "dataset.json").is_file():
        from COFGeneratorLib.anatomy.segmenters.foreign_nnunet import NnUnet

        return _named(NnUnet(folder, device), label_map)
    if (folder / "configs" / "metadata.json").is_file():
        from COFGeneratorLib.anatomy.segmenters.foreign_monai import MonaiBundle

        return _named(MonaiBundle(folder, device), label_map)
    raise AnatomyError(
        "A segmenter is an nnU-Net v2 model folder (plans.json, dataset.json, fold_0 …), a MONAI bundle "
        f"(configs/metadata.json, configs/inference.json, models/…) or a segmenter of ours; {folder} is none of them. "
        "Name the folder that holds these files."
    )


def _named(network: ClassNetwork, label_map: Mapping[str, int] | None) -> ForeignSegmenter:
    return ForeignSegmenter(network, find_codes(network.names) if label_map is None else check_label_map(label_map))


def find_codes(names: Mapping[str, int]) -> dict[str, int]:
    """Return the codes of "lv", "myo" and "rv" (where there is one) by what a network calls its classes.

    Raises:
        AnatomyError: If LV or myocardium are not found, or one of them twice.
    """
    plain = {re.sub(r"[^a-z]", "", str(name).lower()): code for name, code in names.items()}
    found = {ours: [plain[name] for name in known if name in plain] for ours, known in NAMES.items()}
    unsure = [ours for ours, codes in found.items() if len(codes) > 1 or (not codes and ours != "rv")]
    if unsure:
        shown = ", ".join(f"{name} = {code}" for name, code in names.items()) or "none"
        raise AnatomyError(
            f"A segmenter's classes should name LV cavity, myocardium and RV cavity; {', '.join(unsure)} cannot be "
            f"told among {shown}. {HOW}"
        )
    return check_label_map({ours: codes[0] for ours, codes in found.items() if codes})
