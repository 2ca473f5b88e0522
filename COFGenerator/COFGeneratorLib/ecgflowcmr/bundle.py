"""Bundles of this engine: the layout, checksums and loader rules of every bundle of the product."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from COFGeneratorLib.ecgflowcmr.contraction import Contraction
from COFGeneratorLib.ecgflowcmr.model import Amdf, EcgFlowModel, FlowDefaults, PlaneGrid
from COFGeneratorLib.ecgflowcmr.pa_mae import PaMae, PaMaeConfig
from COFGeneratorLib.ecgflowcmr.plane_segmenter import PlaneSegmenter, PlaneSegmenterConfig
from COFGeneratorLib.ecgflowcmr.transformer import DitConfig, VelocityTransformer
from COFGeneratorLib.ecgflowcmr.video_vae import VaeConfig, VideoVae
from COFGeneratorLib.errors import BundleError
from COFGeneratorLib.generator.bundle import FORMAT, METADATA, Bundle, read_metadata
from COFGeneratorLib.weights import load_weights, save_weights

ENGINE = "ecgflowcmr"


def load_ecgflow_bundle(folder: Path | str) -> Bundle:
    """Load and verify a bundle of this engine.

    Raises:
        BundleError: If it is incomplete, altered, of another engine, or its weights do not fit.
    """
    folder = Path(folder)
    metadata = read_metadata(folder)
    facts = metadata["cof"]
    if facts.get("engine") != ENGINE:
        raise BundleError(
            f"A bundle of the engine {ENGINE} was expected; {folder.name} is of "
            f"{facts.get('engine', 'chain-of-flow')}. Name a bundle made by `cof ecgflowcmr export`."
        )
    try:
        pa_mae = PaMae(PaMaeConfig(**_tuples(facts["pa_mae"])))
        amdf = Amdf(pa_mae, VelocityTransformer(DitConfig(**_tuples(facts["dit"]))))
        vae = VideoVae(VaeConfig(**_tuples(facts["vae"])))
        amdf.load_state_dict(load_weights(folder / "models" / "amdf.safetensors"))
        vae.load_state_dict(load_weights(folder / "models" / "vae.safetensors"))
        template = load_weights(folder / "models" / "template.safetensors")["template"]
        segmenter = None
        if facts.get("segmenter"):
            segmenter = PlaneSegmenter(PlaneSegmenterConfig(**_tuples(facts["segmenter"])))
            segmenter.load_state_dict(load_weights(folder / "models" / "segmenter.safetensors"))
            segmenter.eval()
        grid, defaults = PlaneGrid(**facts["grid"]), FlowDefaults(**facts["sampler"])
        rule = Contraction(**facts["contraction"]) if facts.get("contraction") else None
        model = EcgFlowModel(grid, amdf, vae, template, facts["latent_scale"], defaults, rule).eval()
    except BundleError:
        raise
    except Exception as error:  # safetensors, torch and the configuration each raise their own kinds
        raise BundleError(
            f"The weights of {folder.name} must fit its configuration; found {type(error).__name__}: {error}. "
            "Install the bundle again."
        ) from error
    return Bundle(folder, metadata, model, segmenter)


def save_ecgflow_bundle(folder: Path, model: EcgFlowModel, segmenter, facts: dict[str, Any]) -> dict[str, Any]:
    """Write a bundle: weights in half precision, configurations, checksums.

    Args:
        folder: New folder, or one whose bundle is replaced.
        model: The model.
        segmenter: ``PlaneSegmenter`` or None.
        facts: ``name``, ``version``, ``description``, ``licence``, ``intended_use``, ``training``.

    Returns:
        The metadata written.
    """
    folder = Path(folder)
    (folder / "models").mkdir(parents=True, exist_ok=True)
    (folder / "configs").mkdir(exist_ok=True)
    cof: dict[str, Any] = {
        "engine": ENGINE,
        "grid": asdict(model.grid),
        "pa_mae": asdict(model.amdf.pa_mae.config),
        "dit": asdict(model.amdf.velocity.config),
        "vae": asdict(model.vae.config),
        "latent_scale": model.scale,
        "sampler": asdict(model.defaults),
    }
    if model.contraction is not None:
        cof["contraction"] = asdict(model.contraction)
    parts = {"amdf": model.amdf.state_dict(), "vae": model.vae.state_dict(), "template": {"template": model.template}}
    if segmenter is not None:
        cof["segmenter"] = asdict(segmenter.config)
        parts["segmenter"] = segmenter.state_dict()
    for name, state in parts.items():
        save_weights(state, folder / "models" / f"{name}.safetensors")
    checksums = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / "models").glob("*.safetensors"))
    }
    metadata = {"format": FORMAT, **facts, "cof": cof, "checksums": checksums}
    partial = folder / "configs" / "metadata.json.part"
    partial.write_text(json.dumps(metadata, indent=2) + "\n", encoding="utf-8")
    partial.replace(folder / METADATA)
    return metadata


def is_ecgflow_bundle(folder: Path | str) -> bool:
    """Return whether a folder states that it holds a model of this engine."""
    try:
        return json.loads((Path(folder) / METADATA).read_text(encoding="utf-8"))["cof"].get("engine") == ENGINE
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _tuples(facts: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in facts.items()}
