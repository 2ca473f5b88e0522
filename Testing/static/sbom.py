"""The software bill of materials: what an installed product consists of, as CycloneDX 1.6 in JSON (``make sbom``).

``python Testing/static/sbom.py FILE`` writes the product, all packages that it needs in this environment with their
versions, licences and needs of their own, and the model bundles that ship with their hashes.
"""

import datetime
import json
import re
import sys
import uuid
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = "chainofflow"
EXTRAS = ("slicer",)
"""Optional parts that an installation by ``make demo`` has, tests apart."""


def needs_of(name: str, extras: tuple[str, ...] = ()) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield (package, its extras) that an installed package needs here."""
    for line in metadata.requires(name) or []:
        need = Requirement(line)
        if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield canonicalize_name(need.name), tuple(sorted(need.extras))


def closure(name: str, extras: tuple[str, ...]) -> dict[str, set[str]]:
    """Return package → packages that it needs, of a package and of all that it needs, as far as they are installed."""
    found: dict[str, set[str]] = {}
    asked = [(name, extras)]
    done: set[tuple[str, tuple[str, ...]]] = set()
    while asked:
        package, wanted = one = asked.pop()
        if one in done:
            continue
        done.add(one)
        try:
            needs = list(needs_of(package, wanted))
        except metadata.PackageNotFoundError:
            continue
        found.setdefault(package, set()).update(need for need, _ in needs)
        asked += needs
    return {package: {need for need in needs if need in found} for package, needs in found.items()}


def bill(root: Path = ROOT) -> dict[str, Any]:
    """Return the bill of materials of the product as it is installed here."""
    packages = closure(PRODUCT, EXTRAS)
    product = _component(PRODUCT) | {"type": "application"}
    models = [_model(path) for path in sorted((root / "Resources" / "Models").glob("*/configs/metadata.json"))]
    references = {name: _reference(name) for name in packages}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": product,
        },
        "components": [_component(name) for name in sorted(packages) if name != PRODUCT] + models,
        "dependencies": [
            {"ref": references[name], "dependsOn": sorted(references[need] for need in needs)}
            for name, needs in sorted(packages.items())
        ],
    }


def _reference(name: str) -> str:
    return f"pkg:pypi/{name}@{metadata.version(name).replace('+', '%2B')}"


def _component(name: str) -> dict[str, Any]:
    told = metadata.metadata(name)
    words = told.get("License-Expression") or told.get("License") or ""
    if not 0 < len(words) <= 100:  # some state the whole text, or none
        classes = [
            line.rpartition(" :: ")[2] for line in told.get_all("Classifier") or [] if line.startswith("License")
        ]
        words = " AND ".join(classes)
    reference = _reference(name)
    component = {
        "type": "library", "bom-ref": reference, "name": name, "version": metadata.version(name), "purl": reference,
    }  # fmt: skip
    return component | ({"licenses": [{"license": {"name": words}}]} if words else {})


def _model(path: Path) -> dict[str, Any]:
    facts = json.loads(path.read_text("utf-8"))
    name = path.parents[1].name
    component = {
        "type": "machine-learning-model", "bom-ref": f"model:{name}", "name": name, "version": str(facts["version"]),
        "properties": [
            {"name": f"sha256:{file}", "value": digest} for file, digest in sorted(facts["checksums"].items())
        ],
    }  # fmt: skip
    licence = re.sub(r"\s+", " ", str(facts.get("licence") or ""))
    return component | ({"licenses": [{"license": {"name": licence}}]} if licence else {})


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "out/sbom.json")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(bill(), indent=1) + "\n", encoding="utf-8")
    print(target)
