"""Where the shipped resources lie: the default model bundle and the synthetic demo patient."""

import json
from dataclasses import dataclass
from pathlib import Path

from COFGeneratorLib.errors import BundleError, ChainOfFlowError

METADATA = "configs/metadata.json"
"""Where a bundle says what it is."""
DEFAULT_BUNDLE = "cof-plus"
DEFAULT_ENGINE = "chain-of-flow"
"""The engine of a bundle that names none: it moves an anchor."""

_HERE = Path(__file__).resolve().parent
_PLACES = (
    _HERE.parents[1] / "Resources",  # the source tree
    _HERE / "Resources",  # an installed wheel
    _HERE.parent / "Resources",  # a packaged Slicer extension
)


@dataclass(frozen=True)
class SamplePatient:
    """Files of the synthetic demo patient."""

    anchor: Path
    labels: Path
    ecg: Path


def default_bundle() -> Path:
    """Return the folder of the bundle that ships with the product.

    Raises:
        BundleError: If it is not there.
    """
    for place in _PLACES:
        bundle = place / "Models" / DEFAULT_BUNDLE
        if (bundle / METADATA).is_file():
            return bundle
    raise BundleError(
        f"The default model {DEFAULT_BUNDLE} belongs in Resources/Models; found none. "
        "Install the product again, or name a bundle with --model."
    )


def models_folders() -> list[Path]:
    """Return where shipped models may lie, present or not."""
    return [place / "Models" for place in _PLACES]


def model_bundles(engine: str = DEFAULT_ENGINE) -> list[Path]:
    """Return the folders of the bundles of one engine that ship with the product, the default one first."""
    found: dict[str, Path] = {}
    for models in models_folders():
        for metadata in sorted(models.glob(f"*/{METADATA}")):
            folder = metadata.parents[1]
            if engine_of(folder) == engine:
                found.setdefault(folder.name, folder)
    return [found[name] for name in sorted(found, key=lambda name: (name != DEFAULT_BUNDLE, name))]


def engine_of(bundle: str | Path) -> str:
    """Return which engine a bundle is for; one that does not read is left to its loader, which says what is wrong."""
    try:
        metadata = json.loads((Path(bundle) / METADATA).read_text(encoding="utf-8"))
        return str(metadata["cof"].get("engine", DEFAULT_ENGINE))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return DEFAULT_ENGINE


def sample_patient() -> SamplePatient:
    """Return the synthetic demo patient's files.

    Raises:
        ChainOfFlowError: If they are not there.
    """
    for place in _PLACES:
        folder = place / "SampleData"
        ecg = next((folder / name for name in ("ecg.hea", "ecg.csv", "ecg.xml") if (folder / name).is_file()), None)
        patient = SamplePatient(folder / "anchor.nrrd", folder / "labels.nrrd", ecg or folder / "ecg.csv")
        if ecg and patient.anchor.is_file() and patient.labels.is_file():
            return patient
    raise ChainOfFlowError(
        "The demo patient (anchor.nrrd, labels.nrrd, ecg) belongs in Resources/SampleData; found none. "
        "Install the product again, or use your own files with cof generate."
    )
