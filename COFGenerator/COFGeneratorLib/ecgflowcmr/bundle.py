"""Bundles of this engine: the layout, checksums and loader rules of every bundle of the product."""

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
from COFGeneratorLib.generator.bundle import Bundle, build_bundle, configured, filled, read_metadata, write_bundle
from COFGeneratorLib.resources import DEFAULT_ENGINE
from COFGeneratorLib.weights import load_weights

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
            f"{facts.get('engine', DEFAULT_ENGINE)}. Name a bundle made by `cof ecgflowcmr export`."
        )
    return build_bundle(folder, metadata, _networks)


def _networks(models: Path, facts: dict[str, Any]) -> tuple[EcgFlowModel, PlaneSegmenter | None]:
    """Return the model and the plane's segmenter."""
    pa_mae = PaMae(configured(PaMaeConfig, facts["pa_mae"]))
    velocity = VelocityTransformer(configured(DitConfig, facts["dit"]))
    segmenter = None
    if facts.get("segmenter"):
        segmenter = PlaneSegmenter(configured(PlaneSegmenterConfig, facts["segmenter"]))
        segmenter = filled(segmenter, models / "segmenter.safetensors")
    model = EcgFlowModel(
        grid=PlaneGrid(**facts["grid"]),
        amdf=filled(Amdf(pa_mae, velocity), models / "amdf.safetensors"),
        vae=filled(VideoVae(configured(VaeConfig, facts["vae"])), models / "vae.safetensors"),
        template=load_weights(models / "template.safetensors")["template"],
        scale=facts["latent_scale"],
        defaults=FlowDefaults(**facts["sampler"]),
        contraction=Contraction(**facts["contraction"]) if facts.get("contraction") else None,
    )
    return model.eval(), segmenter


def save_ecgflow_bundle(
    folder: Path, model: EcgFlowModel, segmenter: PlaneSegmenter | None, facts: dict[str, Any]
) -> dict[str, Any]:
    """Write a bundle: weights in half precision, configurations, checksums; returns its metadata.

    The folder is new, or its bundle is replaced; ``facts`` are ``name``, ``version``, ``description``, ``licence``,
    ``intended_use``, ``training``.
    """
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
    states = {"amdf": model.amdf.state_dict(), "vae": model.vae.state_dict(), "template": {"template": model.template}}
    if segmenter is not None:
        cof["segmenter"] = asdict(segmenter.config)
        states["segmenter"] = segmenter.state_dict()
    return write_bundle(Path(folder), states, facts, cof)
