"""The recipes of CONTRIBUTING.md do what they say: their code is run as written there, and the map is the house."""

import importlib.util
import json
import re
import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from COFGeneratorLib.ecg import analyse_ecg, read_ecg, readers
from COFGeneratorLib.ecg.record import LEADS
from COFGeneratorLib.errors import EcgError
from COFTrainingLib.cli import main
from COFTrainingLib.evaluation.plan import Plan
from COFTrainingLib.evaluation.protocols import registry
from COFTrainingLib.evaluation.run import CINE
from COFTrainingLib.evaluation.store import Store
from COFTrainingLib.training import configurations
from COFTrainingLib.training.loop.run_folder import config_diff
from support import house

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
SAMPLE = ROOT / "Resources" / "SampleData" / "ecg.hea"
FLOORS = ("COFGeneratorLib", "COFTrainingLib")


def recipe(language: str, name: str) -> tuple[Path, str]:
    """Return the path, relative to the root, and the content of a recipe's file; its first line names it."""
    for block in re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL):
        first, _, content = block.partition("\n")
        if first.startswith("# ") and first.endswith(f"/{name}"):
            return Path(first.removeprefix("# ")), content
    raise AssertionError(f"CONTRIBUTING.md has no recipe of {name}")


def imported(monkeypatch, folder: Path, relative: Path, content: str):
    """Import a recipe's file under the name that it would have in its room."""
    path = folder / relative.name
    path.write_text(content, encoding="utf-8")
    name = ".".join(relative.with_suffix("").parts[1:])
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def example_reader(monkeypatch, tmp_path):
    """The reader of the recipe, in its room."""
    module = imported(monkeypatch, tmp_path, *recipe("python", "example.py"))
    monkeypatch.setattr(readers, "READERS", (*readers.READERS[:-1], "example", "csv"))
    return module


def test_the_reader_of_the_recipe_reads(example_reader, tmp_path):
    known = read_ecg(SAMPLE)
    leads = {name: (1000.0 * known.lead(name)).tolist() for name in LEADS}
    path = tmp_path / "recording.json"
    path.write_text(json.dumps({"example_ecg": {"fs_hz": known.fs_hz, "leads_uv": leads}}))
    record = read_ecg(path)
    assert (record.source_format, record.fs_hz) == ("example", known.fs_hz)
    assert np.abs(record.signal_mv - known.signal_mv).max() < 1e-3
    assert analyse_ecg(record).rr_ms == pytest.approx(analyse_ecg(known).rr_ms, abs=1.0)


def test_the_reader_of_the_recipe_refuses_in_the_form_of_the_house(example_reader, tmp_path):
    path = tmp_path / "recording.json"
    for content, words in (({"leads_uv": {}}, "must be stated; found none"), ({"fs_hz": 500}, "decoding failed")):
        path.write_text(json.dumps({"example_ecg": content}))
        with pytest.raises(EcgError, match=words):
            read_ecg(path)


def test_other_files_are_read_as_before_by_the_side_of_the_recipe(example_reader):
    assert read_ecg(SAMPLE).source_format == "wfdb"


def test_the_protocol_of_the_recipe_makes_a_section(monkeypatch, tmp_path):
    imported(monkeypatch, tmp_path, *recipe("python", "es_timing.py"))
    _, entry = recipe("python", "registry.py")
    added = eval(entry, {"Protocol": registry.Protocol})
    monkeypatch.setitem(registry.PROTOCOLS, added.name, added)
    (protocol,) = registry.chosen(["es-timing"])
    store, plan = Store(tmp_path / "store"), Plan(tmp_path, ("a", "b"))
    summarise = protocol.module().summarise
    assert summarise(plan, store).not_run
    for subject, error in (("a", -2.0), ("b", 1.0)):
        row = {"subject": subject, "method": "mine", "kind": CINE, "metrics": {"es_error_frames": error}}
        store.add(row)
    section = summarise(plan, store)
    assert section.name == protocol.name
    assert section.numbers == {"mine": 1.5}
    assert list(section.tables[0].rows) == [("mine", "1.5")]
    assert protocol in registry.chosen(["cheap"])


def test_the_configuration_of_the_recipe_is_read_and_built(monkeypatch, tmp_path, capsys):
    from COFGeneratorLib.generator.networks.expected_flow import ExpectedFlow

    folder = tmp_path / "configurations"
    shutil.copytree(configurations.FOLDER, folder)
    relative, content = recipe("toml", "wide.toml")
    (folder / relative.name).write_text(content, encoding="utf-8")
    monkeypatch.setattr(configurations, "SHELF", replace(configurations.SHELF, folder=folder))
    assert "wide" in configurations.configuration_names()
    before, after = (configurations.read_configuration("flow", name) for name in ("cof-plus", "wide"))
    differs = [line.split(":")[0] for line in config_diff(asdict(before), asdict(after))]
    assert {name.split("[")[0] for name in differs} == {"expected.widths", "expected.blocks", "expected.components"}
    assert main(["train", "diff", "cof-plus", "wide"]) == 1
    assert "expected.blocks" in capsys.readouterr().out
    flows = [ExpectedFlow(one.grid, one.flow_config) for one in (before, after)]
    sizes = [sum(p.numel() for p in flow.trunk.parameters()) for flow in flows]
    assert sizes[0] < sizes[1]
    assert flows[0].courses.numel() > flows[1].courses.numel()


def the_map() -> dict[str, list[list[str]]]:
    """Return floor → lines of rooms, the highest first, as CONTRIBUTING.md draws them."""
    drawn = next(block for block in re.findall(r"```text\n(.*?)```", TEXT, re.DOTALL) if "COFGeneratorLib/" in block)
    floors: dict[str, list[list[str]]] = {}
    for line in drawn.splitlines():
        if line.startswith("COF"):
            lines = floors.setdefault(line.split("/")[1], [])
        else:
            lines.append(re.split(r" {3,}", line.strip())[0].split())
    return floors


@pytest.mark.parametrize("floor", FLOORS)
def test_the_map_draws_the_order_that_is_kept(floor):
    kept = {"COFGeneratorLib": house.GENERATOR_ROOMS, "COFTrainingLib": house.TRAINING_ROOMS}[floor]
    assert [sorted(line) for line in reversed(the_map()[floor])] == [sorted(line) for line in kept]
