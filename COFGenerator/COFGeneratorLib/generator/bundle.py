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
from COFGeneratorLib.generator.verification import FORMAT, bounded_networks
from COFGeneratorLib.generator.verification import read_metadata as read_metadata
from COFGeneratorLib.resources import METADATA as METADATA
from COFGeneratorLib.resources import default_bundle

if TYPE_CHECKING:
    import torch

    from COFGeneratorLib.generator.model import MotionModel

POPULATION = "population.safetensors"
"""The mean motion of the training's hearts, of a bundle or a run of training."""
Made = TypeVar("Made")
Network = TypeVar("Network", bound="torch.nn.Module")


@dataclass(repr=False)
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

    def __repr__(self) -> str:
        """Return one line: which model, and what of it there is."""
        segmenter = "with" if self.segmenter is not None else "without"
        return f"Bundle({self.model_id}, {segmenter} segmenter)"


def load_bundle(folder: str | Path | None = None, encoder: str | Path | None = None) -> Bundle:
    """Load and verify a model bundle.

    Args:
        folder: Where it lies; the one that ships with the product where None.
        encoder: File of the weights of the ECG encoder of others that the bundle names by their hash; looked for among
            the models where None.

    Raises:
        BundleError: If it is incomplete, altered, or its weights do not fit its configuration.

    Example:
        >>> load_bundle().metadata["name"]
        'cof-plus'
    """
    folder = default_bundle() if folder is None else Path(folder)
    metadata = read_metadata(folder)
    if "engine" in metadata["cof"]:
        raise BundleError(
            f"A bundle that moves an anchor was expected; {folder.name} is of the engine {metadata['cof']['engine']}. "
            "Name another bundle, or use it with --engine."
        )
    bundle = build_bundle(folder, metadata, _networks)
    if encoder is not None and bundle.model.listener is None:
        raise BundleError(
            f"{bundle.model_id} hears ECGs through an encoder of its own; found the weights of another. Leave "
            "--encoder out."
        )
    if bundle.model.listener is not None:
        bundle.model.listener = bundle.model.listener.with_weights(encoder)
    return bundle


def build_bundle(
    folder: Path, metadata: dict[str, Any], networks: Callable[[Path, dict[str, Any]], tuple[Any, Any]]
) -> Bundle:
    """Return a verified bundle with its networks.

    ``networks`` is ``(folder of the weights, metadata["cof"]) → (model, segmenter or None)`` of its engine.

    Raises:
        BundleError: If the weights do not fit the configuration.
    """
    try:
        with bounded_networks(metadata, folder):
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
    from COFGeneratorLib.generator.choices import PostProcessing, SamplerDefaults
    from COFGeneratorLib.generator.ef_statement import EfStatement, StatementConfig
    from COFGeneratorLib.generator.model import MotionModel
    from COFGeneratorLib.generator.networks.ecg_encoder import EcgEncoder, EcgEncoderConfig
    from COFGeneratorLib.generator.networks.expected_flow import ExpectedFlow, ExpectedFlowConfig
    from COFGeneratorLib.generator.networks.flow_network import FlowConfig, VelocityUNet
    from COFGeneratorLib.generator.networks.grid import MotionGrid
    from COFGeneratorLib.generator.networks.pack import PackScale
    from COFGeneratorLib.generator.shared_weights import with_the_teachers
    from COFGeneratorLib.weights import load_weights

    if facts.get("mean"):
        raise BundleError(
            "A bundle whose flow is one network was expected; found the regression and the flow beside it of version "
            "0.1. Use a newer bundle, or train it again with: cof train flow"
        )
    grid = configured(MotionGrid, facts["grid"])
    flow: ExpectedFlow | VelocityUNet
    if facts["flow"].get("components"):
        flow = ExpectedFlow(grid, configured(ExpectedFlowConfig, facts["flow"]))
    else:
        flow = VelocityUNet(grid, configured(FlowConfig, facts["flow"]))
    flow.load_state_dict(with_the_teachers(load_weights(models / "flow.safetensors"), flow, models / "teacher"))
    segmenter = listener = statement = None
    if facts.get("listener"):
        from COFGeneratorLib.generator.encoders.named import NamedEncoder

        listener = NamedEncoder(**facts["listener"])
    if facts.get("statement"):
        statement = EfStatement(configured(StatementConfig, facts["statement"]))
        statement = filled(statement, models / "statement.safetensors")
    if facts.get("segmenter"):
        from COFGeneratorLib.anatomy.segmenters.segmenter import Segmenter

        segmenter = Segmenter.from_files(models / "segmenter")
    model = MotionModel(
        grid=grid,
        encoder=filled(EcgEncoder(configured(EcgEncoderConfig, facts["ecg"])), models / "ecg.safetensors"),
        scale=PackScale(tuple(facts["rms"])),
        flow=flow.eval(),
        listener=listener,
        gain=float(facts.get("gain", 1.0)),
        sampler=SamplerDefaults(**facts.get("sampler", {})),
        after=PostProcessing(**facts.get("after", {})),
        mean=load_weights(models / POPULATION)["velocity"] if (models / POPULATION).is_file() else None,
        ef_z90=None if facts.get("ef_z90") is None else float(facts["ef_z90"]),
        ef_shift=float(facts.get("ef_shift", 0.0)),
        statement=statement,
    )
    if model.after.of_the_mean and (model.mean is None or model.mean.shape[1:] != (3, *grid.shape)):
        raise BundleError(
            f"A model that draws motion towards its mean needs that as models/{POPULATION}, on its motion grid; found "
            f"{'none' if model.mean is None else tuple(model.mean.shape)}. Install the bundle again."
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
        teacher_files: Folder of the registration teacher's files, for ``cof register`` and the reference anatomy.
            Networks and the mean motion are stored in eight bits, the statement of EF in half precision.

    Returns:
        The metadata written.
    """
    folder = Path(folder)
    from COFGeneratorLib.generator.shared_weights import without_the_teachers

    cof: dict[str, Any] = {
        "grid": asdict(model.grid),
        "rms": list(model.scale.rms),
        "gain": model.gain,
        "sampler": asdict(model.sampler),
        "after": asdict(model.after),
        "ef_z90": model.ef_z90,
        "ef_shift": model.ef_shift,
        "pack": "channel = component*D + slice; components v_k, v_j, v_i, confidence",
    }
    if model.listener is not None:
        cof["listener"] = model.listener.facts()
    states = {}
    for name, network in (("ecg", model.encoder), ("flow", model.flow), ("statement", model.statement)):
        if network is not None:
            cof[name] = asdict(network.config)
            states[name] = network.state_dict()
    if teacher_files is not None:
        states["flow"] = without_the_teachers(states["flow"], Path(teacher_files))
    if segmenter_files is not None:
        cof["segmenter"] = True
        _copy_network(Path(segmenter_files), folder / "models" / "segmenter", eight_bits=True)
    if teacher_files is not None:
        cof["teacher"] = True
        _copy_network(Path(teacher_files), folder / "models" / "teacher", eight_bits=True)
    if model.mean is not None:
        states[Path(POPULATION).stem] = {"velocity": model.mean}
    return write_bundle(folder, states, facts, cof, eight_bits=("ecg", "flow", "population"))


def write_bundle(
    folder: Path,
    states: "dict[str, dict[str, torch.Tensor]]",
    facts: dict[str, Any],
    cof: dict[str, Any],
    eight_bits: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Write weights (by the name of their file) and metadata, the checksums of all files under ``models`` with them.

    The folder is new, has a bundle to be replaced, or further files under ``models``. Those of the names in
    ``eight_bits`` are stored so, others in half precision. Returns the metadata.
    """
    from COFGeneratorLib.weights import save_weights

    (folder / "models").mkdir(parents=True, exist_ok=True)
    (folder / "configs").mkdir(exist_ok=True)
    for name, state in states.items():
        save_weights(state, folder / "models" / f"{name}.safetensors", name in eight_bits)
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
