"""The page on training: its commands run as written and leave what it says."""

import json

from COFGeneratorLib import load_bundle, read_ecg
from COFTrainingLib.cli import main
from COFTrainingLib.training.motion.stage_two import StageTwoTraining
from support.documented_way import BARS_MISSED, commands


def test_every_command_of_the_page_ends_as_it_says(walked):
    bench = {command: code for command, code in walked.codes.items() if command.startswith("python")}
    assert set(bench.values()) == {BARS_MISSED}
    assert {code for command, code in walked.codes.items() if command not in bench} == {0}


def test_the_default_model_is_made_by_the_same_commands(page):
    def verbs(lines):
        return [" ".join(line.split()[:3]) if line.startswith("cof") else line.split()[1] for line in lines]

    short, full = commands(page, "The whole in a minute"), commands(page, "The default model")
    assert verbs(short) == verbs(full)
    default = StageTwoTraining()
    assert f"--subjects {default.subjects} --seed {default.first_seed}" in full[0]


def test_the_run_holds_what_the_page_lists(walked, page):
    run = walked.folder / "smoke" / "run"
    for row in page.split("| in `RUN` | what |")[1].split("\n\n")[0].splitlines()[2:]:
        for name in row.split("|")[1].replace("`", "").split(","):
            assert (run / name.strip()).exists(), name
    assert (walked.folder / "smoke" / "run" / "teacher" / "teacher" / "model.safetensors").exists()
    events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    assert {"expected", "fold", "gain", "examples"} <= {event.get("stage") for event in events}
    assert events[-1]["event"] == "done"


def test_the_bundle_generates_a_cine(walked, tmp_path):
    from COFGeneratorLib.generator import generate
    from COFTrainingLib.phantom.cases import draw_case

    bundle = load_bundle(walked.folder / "smoke" / "bundle")
    case = draw_case(7_000_100, (14.0, 2.4))
    cine = generate(case.anchor, case.record, bundle, labels=case.labels, frames=4)
    assert cine.frames.shape == (4, *case.anchor.shape)
    assert cine.provenance["model"].startswith("smoke ")
    assert bundle.segmenter is not None


def test_the_card_states_where_the_model_comes_from(walked):
    bundle = walked.folder / "smoke" / "bundle"
    card = (bundle / "docs" / "README.md").read_text(encoding="utf-8")
    for words in ("300000 … 300011", "CC0-1.0", "ecg 12, expected 12, each fold 6", "Research use only", "copy anchor",
                  "EF, mean absolute error", "cof train flow --cohort cohort"):  # fmt: skip
        assert words in card, words
    metadata = load_bundle(bundle).metadata
    manifest = (walked.folder / "smoke" / "cohort" / "cohort.jsonl").read_text(encoding="utf-8")
    from hashlib import sha256

    assert metadata["training"]["manifest_sha256"] == sha256(manifest.strip("\n").encode()).hexdigest()
    assert "phantom" in metadata["training"]["kind"]


def test_the_commands_of_the_card_train_the_same_weights_again(walked, tmp_path, monkeypatch):
    bundle = walked.folder / "smoke" / "bundle"
    card = (bundle / "docs" / "README.md").read_text(encoding="utf-8")
    again = card.split("## Train it again")[1].split("```")[1].strip().splitlines()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configuration.json").write_bytes((bundle / "docs" / "configuration.json").read_bytes())
    for command in again:
        assert main([*command.split()[1:], "--quiet"]) == 0, command
    first, second = load_bundle(bundle), load_bundle(tmp_path / "smoke")
    assert second.weights_sha256 == first.weights_sha256
    assert second.metadata["cof"] == first.metadata["cof"]


def test_an_ecg_of_a_synthesised_cohort_reads(tmp_path):
    assert main(["cohort", "synthesize", "--subjects", "1", "--seed", "8000000", "--spacing", "14,2.4",
                 "--out", str(tmp_path / "c"), "--quiet"]) == 0  # fmt: skip
    assert read_ecg(tmp_path / "c" / "subjects" / "phantom-8000000" / "ecg.hea").fs_hz == 500.0
