"""Model bundles: a folder after MONAI Bundle's layout, verified before anything of it is used.

``configs/metadata.json`` names every weights file with its SHA-256; weights are safetensors, so nothing is unpickled.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from COFGeneratorLib.errors import BundleError
from COFGeneratorLib.files import sha256_of, write_text
from COFGeneratorLib.resources import METADATA as METADATA

if TYPE_CHECKING:
    import torch

    from COFGeneratorLib.generator.model import MotionModel

FORMAT = 1
MAX_WEIGHTS_BYTES = 1 << 30
Made = TypeVar("Made")
Network = TypeVar("Network", bound="torch.nn.Module")


@dataclass
class Bundle:
    """A verified bundle.

    Attributes:
        folder: Where it lies.
        metadata: Content of ``configs/metadata.json``.
        model: Networks of its engine, on the CPU, ready.
        segmenter: The segmenter of what the engine works on, or None where the bundle has none.
    """

    folder: Path
    metadata: dict[str, Any]
    model: Any
    segmenter: Any

    @property
    def model_id(self) -> str:
        """Name and version, e.g. ``cof-plus 0.1.0``."""
        return f"{self.metadata['name']} {self.metadata['version']}"

    @property
    def weights_sha256(self) -> str:
        """One hash over all weights files, in the order of their names."""
        parts = "".join(f"{name}:{digest}\n" for name, digest in sorted(self.metadata["checksums"].items()))
        return hashlib.sha256(parts.encode()).hexdigest()


def read_metadata(folder: Path) -> dict[str, Any]:
    """Read and check the metadata of a bundle, and every checksum it states.

    Raises:
        BundleError: If the folder is no bundle, is of another format, or a file is missing or altered.
    """
    folder = Path(folder)
    try:
        metadata = json.loads((folder / METADATA).read_text(encoding="utf-8"))
        checksums, form = dict(metadata["checksums"]), int(metadata["format"])
        metadata["name"], metadata["version"], metadata["cof"]["grid"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(
            f"A model bundle needs a complete {METADATA} in {folder.name}; found none that reads "
            f"({type(error).__name__}: {error}). Name the bundle's folder, or install the bundle again."
        ) from error
    if form != FORMAT:
        raise BundleError(
            f"A bundle of format {FORMAT} was expected; found {form}. Use a matching ChainOfFlow version."
        )
    if not checksums:
        raise BundleError(f"A bundle needs checksums of its weights; found none in {METADATA}. Export it again.")
    for name, expected in checksums.items():
        path = (folder / name).resolve()
        if folder.resolve() not in path.parents:
            raise BundleError(f"A bundle's files lie within it; found {name!r}. Do not use this bundle.")
        if not path.is_file() or path.stat().st_size > MAX_WEIGHTS_BYTES:
            raise BundleError(f"The bundle's file {name} is missing or too large. Install the bundle again.")
        found = sha256_of(path)
        if found != expected:
            raise BundleError(
                f"The bundle's file {name} must have SHA-256 {expected[:12]}…; found {found[:12]}…: it is truncated or "
                "was altered. Install the bundle again."
            )
    return metadata


def load_bundle(folder: str | Path) -> Bundle:
    """Load and verify a model bundle.

    Raises:
        BundleError: If it is incomplete, altered, or its weights do not fit its configuration.
    """
    folder = Path(folder)
    metadata = read_metadata(folder)
    if "engine" in metadata["cof"]:
        raise BundleError(
            f"A bundle that moves an anchor was expected; {folder.name} is of the engine {metadata['cof']['engine']}. "
            "Name another bundle, or use it with --engine."
        )
    return build_bundle(folder, metadata, _networks)


def build_bundle(
    folder: Path, metadata: dict[str, Any], networks: Callable[[Path, dict[str, Any]], tuple[Any, Any]]
) -> Bundle:
    """Return a verified bundle with its networks.

    ``networks`` is ``(folder of the weights, metadata["cof"]) → (model, segmenter or None)`` of its engine.

    Raises:
        BundleError: If the weights do not fit the configuration.
    """
    try:
        model, segmenter = networks(folder / "models", metadata["cof"])
    except BundleError:
        raise
    except Exception as error:  # safetensors, torch and the configuration each raise their own kinds
        raise BundleError(
            f"The weights of {folder.name} must fit its configuration; found {type(error).__name__}: {error}. "
            "Install the bundle again."
        ) from error
    return Bundle(folder, metadata, model, segmenter)


def configured(kind: Callable[..., Made], facts: dict[str, Any]) -> Made:
    """Return a configuration from what a bundle states of it."""
    return kind(**with_tuples(facts))


def with_tuples(facts: dict[str, Any]) -> dict[str, Any]:
    """Return settings as they were before they went through JSON, which knows no tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in facts.items()}


def filled(network: Network, path: Path) -> Network:
    """Return a network with the weights of a file, ready for use."""
    from COFGeneratorLib.weights import load_weights

    network.load_state_dict(load_weights(path))
    return network.eval()


def _networks(models: Path, facts: dict[str, Any]) -> tuple[Any, Any]:
    """Return the ``MotionModel`` and the anchor's segmenter."""
    from COFGeneratorLib.generator.model import MotionModel, SamplerDefaults
    from COFGeneratorLib.generator.networks.ecg_encoder import EcgEncoder, EcgEncoderConfig
    from COFGeneratorLib.generator.networks.flow_network import FlowConfig, VelocityUNet
    from COFGeneratorLib.generator.networks.grid import MotionGrid
    from COFGeneratorLib.generator.networks.mean_network import MeanConfig, MotionMean
    from COFGeneratorLib.generator.networks.pack import PackScale

    grid = configured(MotionGrid, facts["grid"])
    mean = flow = segmenter = None
    if facts.get("mean"):
        mean = filled(MotionMean(grid, configured(MeanConfig, facts["mean"])), models / "mean.safetensors")
    if facts.get("flow"):
        flow = filled(VelocityUNet(grid, configured(FlowConfig, facts["flow"])), models / "flow.safetensors")
    if facts.get("segmenter"):
        from COFGeneratorLib.anatomy.segmenters.segmenter import Segmenter

        segmenter = Segmenter.from_files(models / "segmenter")
    model = MotionModel(
        grid=grid,
        encoder=filled(EcgEncoder(configured(EcgEncoderConfig, facts["ecg"])), models / "ecg.safetensors"),
        scale=PackScale(tuple(facts["rms"])),
        mean=mean,
        flow=flow,
        spread=tuple(facts.get("spread", (1.0, 1.0, 1.0))),
        gain=float(facts.get("gain", 1.0)),
        sampler=SamplerDefaults(**facts.get("sampler", {})),
        ef_z90=None if facts.get("ef_z90") is None else float(facts["ef_z90"]),
        ef_shift=float(facts.get("ef_shift", 0.0)),
    )
    return model, segmenter


def save_bundle(
    folder: Path,
    model: "MotionModel",
    facts: dict[str, Any],
    segmenter_files: Path | None = None,
    teacher_files: Path | None = None,
) -> dict[str, Any]:
    """Write a bundle: weights in half precision, configurations, checksums.

    Args:
        folder: New folder, or one whose bundle is replaced.
        model: The networks and their scales.
        facts: ``name``, ``version``, ``description``, ``licence``, ``intended_use``, ``training`` … for the metadata.
        segmenter_files: Folder of the segmenter's files; its weights are stored in eight bits, which changes its Dice
            by less than 0.01 and keeps the bundle small.
        teacher_files: Folder of the registration teacher's files, for ``cof register``.

    Returns:
        The metadata written.
    """
    folder = Path(folder)
    cof: dict[str, Any] = {
        "grid": asdict(model.grid),
        "rms": list(model.scale.rms),
        "spread": list(model.spread),
        "gain": model.gain,
        "sampler": asdict(model.sampler),
        "ef_z90": model.ef_z90,
        "ef_shift": model.ef_shift,
        "pack": "channel = component*D + slice; components v_k, v_j, v_i, confidence",
    }
    states = {}
    for name, network in (("ecg", model.encoder), ("mean", model.mean), ("flow", model.flow)):
        if network is not None:
            cof[name] = asdict(network.config)
            states[name] = network.state_dict()
    if segmenter_files is not None:
        cof["segmenter"] = True
        _copy_network(Path(segmenter_files), folder / "models" / "segmenter", eight_bits=True)
    if teacher_files is not None:
        cof["teacher"] = True
        _copy_network(Path(teacher_files), folder / "models" / "teacher", eight_bits=False)
    return write_bundle(folder, states, facts, cof)


def write_bundle(
    folder: Path, states: "dict[str, dict[str, torch.Tensor]]", facts: dict[str, Any], cof: dict[str, Any]
) -> dict[str, Any]:
    """Write weights (by the name of their file) and metadata, the checksums of all files under ``models`` with them.

    The folder is new, has a bundle to be replaced, or further files under ``models``. Returns the metadata.
    """
    from COFGeneratorLib.weights import save_weights

    (folder / "models").mkdir(parents=True, exist_ok=True)
    (folder / "configs").mkdir(exist_ok=True)
    for name, state in states.items():
        save_weights(state, folder / "models" / f"{name}.safetensors")
    files = sorted(path for path in (folder / "models").rglob("*") if path.is_file())
    checksums = {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}
    metadata = {"format": FORMAT, **facts, "cof": cof, "checksums": checksums}
    write_text(folder / METADATA, json.dumps(metadata, indent=2) + "\n")
    return metadata


def _copy_network(source: Path, target: Path, eight_bits: bool) -> None:
    from COFGeneratorLib.weights import load_weights, save_weights

    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        if path.suffix == ".safetensors":
            save_weights(load_weights(path), target / path.name, eight_bits)
        elif path.suffix == ".json":
            shutil.copy(path, target / path.name)
