"""What is installed is what is pinned, what is pinned is what is asked for, and the bill of materials lists it."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from static import sbom

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
PINS = {
    canonicalize_name(pin.name): pin
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    if (text := line.partition("#")[0].strip())
    for pin in [Requirement(text)]
}
ASKED = [
    Requirement(line)
    for lines in [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    for line in lines
]


@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_what_is_asked_for_is_pinned_within_its_bounds(asked):
    pin = PINS[canonicalize_name(asked.name)]
    (version,) = [one.version for one in pin.specifier]
    assert str(pin.specifier) == f"=={version}"
    assert asked.specifier.contains(version, prereleases=True)


@pytest.mark.parametrize("name", sorted(PINS))
def test_what_is_installed_is_what_is_pinned(name):
    try:
        installed = metadata.version(name)
    except metadata.PackageNotFoundError:
        pytest.skip(f"{name} is not installed here")
    assert PINS[name].specifier.contains(installed, prereleases=True), f"found {installed}: run make install"


def test_everything_that_is_needed_is_installed_in_a_version_that_fits():
    wrong = []
    for package in sbom.closure(sbom.PRODUCT, sbom.EXTRAS):
        for line in metadata.requires(package) or []:
            need = Requirement(line)
            if need.marker is not None and not need.marker.evaluate({"extra": ""}):
                continue
            try:
                version = metadata.version(need.name)
            except metadata.PackageNotFoundError:
                version = "none"
            if version == "none" or not need.specifier.contains(version, prereleases=True):
                wrong.append(f"{package} needs {line}; found {version}")
    assert wrong == []


@pytest.fixture(scope="module")
def bill():
    return sbom.bill()


def test_the_bill_lists_all_that_the_product_needs(bill):
    versions = {part["name"]: part["version"] for part in bill["components"] if part["type"] == "library"}
    for line in PROJECT["dependencies"]:
        name = canonicalize_name(Requirement(line).name)
        assert versions[name] == metadata.version(name)
    assert {"pandas", "scikit-learn"} <= versions.keys()  # needs of a need
    assert "pytest" not in versions


def test_the_bill_lists_the_models_that_ship(bill):
    models = {part["name"]: part for part in bill["components"] if part["type"] == "machine-learning-model"}
    assert models.keys() == {path.parents[1].name for path in ROOT.glob("Resources/Models/*/configs/metadata.json")}
    assert all(
        re.fullmatch(r"[0-9a-f]{64}", fact["value"]) for model in models.values() for fact in model["properties"]
    )


def test_references_of_the_bill_are_unique_and_exist(bill):
    references = [bill["metadata"]["component"]["bom-ref"], *(part["bom-ref"] for part in bill["components"])]
    assert len(references) == len(set(references))
    for arrow in bill["dependencies"]:
        assert {arrow["ref"], *arrow["dependsOn"]} <= set(references)
    assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", bill["serialNumber"])
