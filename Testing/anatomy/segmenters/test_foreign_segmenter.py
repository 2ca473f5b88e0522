"""Segmenters of others from folders in their real layouts: read as data, asked in their own way, else refused."""

import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from COFGeneratorLib.anatomy.geometry import flip
from COFGeneratorLib.anatomy.roi import Roi
from COFGeneratorLib.anatomy.segmenters.foreign_segmenter import find_codes, load_segmenter
from COFGeneratorLib.anatomy.segmenters.segmenter import Segmenter
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.errors import AnatomyError
from COFGeneratorLib.generator import generate
from COFTrainingLib.cli import main
from COFTrainingLib.cohort.nrrd import write_nrrd
from COFTrainingLib.cohort.synthetic.phantom_files import write_ecg
from monai.networks.nets import UNet
from safetensors.torch import save_file

GREY = (0.0, 0.5, 0.25, 1.0)
"""Intensity of background, LV cavity, myocardium and RV cavity in the drawn images."""
CODES = {"rv": 1, "myo": 2, "lv": 3}
OURS_BY_CODE = (0, 3, 2, 1)
UNET = {
    "_target_": "UNet", "spatial_dims": 2, "in_channels": 1, "out_channels": 4, "channels": [4, 8], "strides": [2],
}  # fmt: skip


class ReadsGrey(torch.nn.Module):
    """Knows the labels because the image shows them; its classes are in the order of ACDC (RV, myocardium, LV)."""

    def __init__(self):
        super().__init__()
        self.register_buffer("grey", torch.tensor(GREY)[list(OURS_BY_CODE)].reshape(1, 4, 1, 1, 1))

    def forward(self, image):
        return -400.0 * (image - self.grey) ** 2


@pytest.fixture(scope="module")
def drawing(a_case):
    return SaxStack(np.asarray(GREY)[a_case.labels] * 700.0 + 50.0, a_case.anchor.ijk_to_ras), a_case.labels


def overlap(a, b, code):
    return 2 * ((a == code) & (b == code)).sum() / ((a == code).sum() + (b == code).sum())


def a_bundle(folder, *, shape=(64, 64, 8), network_def=None, steps=None, inferer=None, names=None):
    """Write the configuration of a bundle as MONAI's model zoo does, expressions and all; returns its folder."""
    names = names or {"0": "background", "1": "rv_pool", "2": "myocardium", "3": "lv_pool"}
    image = {"type": "image", "num_channels": 1, "spatial_shape": list(shape), "value_range": []}
    pred = {"format": "segmentation", "num_channels": 4, "spatial_shape": list(shape), "channel_def": names}
    metadata = {"version": "0.3.0", "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": pred}}}
    before = [{"_target_": "LoadImaged", "keys": "image"}, {"_target_": "EnsureChannelFirstd", "keys": "image"}]
    after = [{"_target_": "EnsureTyped", "keys": "image", "device": "@device"}]
    inference = {
        "imports": ["$import glob"],
        "device": "$torch.device('cpu')",
        "network_def": network_def or {},
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": before + (steps or []) + after},
        "inferer": inferer or {"_target_": "SlidingWindowInferer", "roi_size": list(shape), "overlap": 0.25},
        "evaluating": ["$@evaluator.run()"],
    }
    for name, content in (("metadata", metadata), ("inference", inference)):
        path = folder / "configs" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")
    (folder / "models").mkdir(exist_ok=True)
    return folder


SCALED = {"_target_": "ScaleIntensityd", "keys": "image"}
TURNED = {"_target_": "Orientationd", "keys": ["image"], "axcodes": "LPS"}
SPACED = {"_target_": "Spacingd", "keys": "image", "pixdim": [1.5, 1.5, -1], "mode": "bilinear"}


@pytest.fixture(scope="module")
def scripted(tmp_path_factory):
    """A TorchScript bundle that turns and resamples the image before its network."""
    folder = a_bundle(tmp_path_factory.mktemp("scripted"), steps=[TURNED, SPACED, SCALED])
    torch.jit.script(ReadsGrey()).save(str(folder / "models" / "model.ts"))
    return folder


@pytest.mark.parametrize("axis", [None, 0, 2])
def test_a_torchscript_bundle_labels_a_stack_of_any_order_on_its_own_grid(scripted, drawing, axis):
    stack, labels = drawing
    if axis is not None:
        stack, labels = SaxStack(*flip(stack.voxels, stack.ijk_to_ras, axis)), np.flip(labels, axis)
    found = load_segmenter(scripted).segment(stack)
    assert found.labels.dtype == np.uint8
    for code in (1, 2, 3):
        assert overlap(found.labels, labels, code) > 0.9
    assert found.probabilities.sum(axis=0) == pytest.approx(1.0, abs=1e-3)
    k, j, i = np.nonzero(labels == 1)
    centre = stack.ijk_to_ras @ [i.mean(), j.mean(), k.mean(), 1.0]
    assert np.linalg.norm(found.frame.origin_ras - centre[:3]) < 2.0


def test_a_planar_safetensors_bundle_gives_what_its_network_gives(tmp_path, drawing):
    stack, _ = drawing
    torch.manual_seed(0)
    network = UNet(**{key: value for key, value in UNET.items() if key != "_target_"}).eval()
    side = 2 * max(stack.shape)  # a window that holds the slice: zeros around it
    inferer = {"_target_": "SliceInferer", "roi_size": [side, side], "spatial_dim": 2}
    folder = a_bundle(tmp_path, shape=(256, 256), network_def=UNET, steps=[SCALED], inferer=inferer)
    save_file(network.state_dict(), folder / "models" / "model.safetensors")
    found = load_segmenter(folder).network.classes(stack)
    low, high = stack.voxels.min(), stack.voxels.max()
    slices = torch.from_numpy((stack.voxels - low) / (high - low)).transpose(1, 2)[:, None]
    first, second = ((side - size) // 2 for size in slices.shape[2:])
    window = torch.zeros(len(slices), 1, side, side)
    window[:, :, first : first + slices.shape[2], second : second + slices.shape[3]] = slices
    with torch.inference_mode():
        direct = network(window)[:, :, first : first + slices.shape[2], second : second + slices.shape[3]]
    direct = direct.softmax(dim=1).transpose(2, 3).movedim(0, 1).numpy()
    assert found.shape == (4, *stack.shape)
    assert found == pytest.approx(direct, abs=1e-4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"network_def": {**UNET, "channels": "$[4, 8]"}}, "no code in it is run"),
        ({"network_def": {**UNET, "_target_": "scripts.net.MyNet"}}, "code of its own"),
        ({"network_def": {**UNET, "_target_": "TorchVisionFCModel"}}, "network_def is one of"),
        ({"network_def": {**UNET, "channels": [8, 16]}}, "must fit its network_def"),
        ({"steps": [{"_target_": "Lambdad", "keys": "image", "func": "$print"}]}, "Preprocessing may use"),
        ({"steps": [{"_target_": "os.system", "command": "true"}]}, "code of its own"),
        ({"steps": [{**SCALED, "maxv": "$1 + 1"}]}, "no code in it is run"),
        ({"inferer": {"_target_": "scripts.Mine"}}, "code of its own"),
    ],
)
def test_a_bundle_that_needs_code_or_does_not_fit_is_refused(tmp_path, change, words):
    folder = a_bundle(tmp_path, **{"shape": (32, 32), "network_def": UNET, **change})
    network = UNet(**{key: value for key, value in UNET.items() if key != "_target_"})
    save_file(network.state_dict(), folder / "models" / "model.safetensors")
    with pytest.raises(AnatomyError, match=words):
        load_segmenter(folder)


def test_a_pickled_checkpoint_of_a_bundle_is_not_opened(tmp_path):
    folder = a_bundle(tmp_path, network_def=UNET, shape=(32, 32))
    (folder / "models" / "model.pt").write_bytes(b"whatever")
    with pytest.raises(AnatomyError, match=r"model\.pt is a pickle"):
        load_segmenter(folder)


class FakePredictor:
    """Stands for nnU-Net's predictor: takes the weights as ``manual_initialization`` does, and reads the grey."""

    def __init__(self, **options):
        self.options = options

    def manual_initialization(self, *given):
        self.given = given

    def predict_single_npy_array(self, image, properties, previous, file, with_probabilities):
        assert (previous, file, with_probabilities) == (None, None, True)
        self.asked = image.shape, properties
        scaled = torch.from_numpy((image - image.min()) / (image.max() - image.min()))[None]
        probabilities = ReadsGrey()(scaled)[0].softmax(dim=0).numpy()
        return probabilities.argmax(axis=0), probabilities


class FakeTrainer:
    @staticmethod
    def build_network_architecture(name, arguments, imports, channels, heads, enable_deep_supervision):
        assert (name, channels, heads, enable_deep_supervision) == (ARCHITECTURE["network_class_name"], 1, 4, False)
        return torch.nn.Linear(2, 2)


class FakePlans:
    def __init__(self, plans):
        self.plans = plans

    def get_configuration(self, name):
        settings = self.plans["configurations"][name]["architecture"]
        return types.SimpleNamespace(
            network_arch_class_name=settings["network_class_name"],
            network_arch_init_kwargs=settings["arch_kwargs"],
            network_arch_init_kwargs_req_import=settings["_kw_requires_import"],
        )

    def get_label_manager(self, dataset):
        return types.SimpleNamespace(num_segmentation_heads=len(dataset["labels"]))


@pytest.fixture
def nnunetv2(monkeypatch):
    """The names of nnunetv2 that are used, in the modules where they are."""
    found = {
        "nnunetv2": {"__path__": ["/nowhere"]},
        "nnunetv2.inference": {},
        "nnunetv2.inference.predict_from_raw_data": {"nnUNetPredictor": FakePredictor},
        "nnunetv2.utilities": {},
        "nnunetv2.utilities.find_class_by_name": {
            "recursive_find_python_class": lambda folder, name, module: FakeTrainer if name == "nnUNetTrainer" else None
        },
        "nnunetv2.utilities.label_handling": {},
        "nnunetv2.utilities.label_handling.label_handling": {
            "determine_num_input_channels": lambda manager, settings, dataset: len(dataset["channel_names"])
        },
        "nnunetv2.utilities.plans_handling": {},
        "nnunetv2.utilities.plans_handling.plans_handler": {"PlansManager": FakePlans},
    }
    for name, content in found.items():
        module = types.ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)


ARCHITECTURE = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "arch_kwargs": {"n_stages": 6, "conv_op": "torch.nn.modules.conv.Conv3d", "dropout_op": None},
    "_kw_requires_import": ["conv_op", "dropout_op"],
}
LABELS = {"background": 0, "RV": 1, "MLV": 2, "LVC": 3}


def an_nnunet(folder, *, architecture=ARCHITECTURE, labels=LABELS, channels=("MRI",), folds=(0, 1), **settings):
    """Write a model folder as nnU-Net v2 does after training; returns it."""
    configuration = {"patch_size": [8, 64, 64], "architecture": architecture, **settings}
    plans = {"dataset_name": "Dataset027_ACDC", "configurations": {"3d_fullres": configuration}}
    names = {str(number): name for number, name in enumerate(channels)}
    dataset = {"channel_names": names, "labels": labels, "numTraining": 2, "file_ending": ".nii.gz"}
    for name, content in (("plans", plans), ("dataset", dataset)):
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    for fold in folds:
        (folder / f"fold_{fold}").mkdir()
        torch.manual_seed(fold)
        checkpoint = {
            "network_weights": torch.nn.Linear(2, 2).state_dict(),
            "optimizer_state": {"state": {}, "param_groups": [{"lr": 0.01}]},
            "logging": {"mean_fg_dice": [np.float64(0.5), np.float32(0.25)], "lrs": [0.01]},
            "_best_ema": np.float64(0.9),
            "current_epoch": 1000,
            "init_args": {"configuration": "3d_fullres", "fold": fold, "plans": plans, "dataset_json": dataset},
            "trainer_name": "nnUNetTrainer",
            "inference_allowed_mirroring_axes": (0, 1, 2),
        }
        torch.save(checkpoint, folder / f"fold_{fold}" / "checkpoint_final.pth")
    return folder


def test_an_nnunet_folder_is_read_and_asked_as_the_package_does(tmp_path, nnunetv2, drawing):
    stack, labels = drawing
    segmenter = load_segmenter(an_nnunet(tmp_path))
    assert segmenter.codes == CODES
    found = segmenter.segment(stack)
    for code in (1, 2, 3):
        assert overlap(found.labels, labels, code) > 0.95
    predictor = segmenter.network.predictor
    assert predictor.asked[0] == (1, *stack.shape)
    assert predictor.asked[1]["spacing"] == pytest.approx(stack.spacing_mm)
    network, _, _, weights, _, trainer, mirror = predictor.given
    assert len(weights) == 2
    assert torch.equal(network.weight, weights[0]["weight"])
    assert not torch.equal(weights[0]["weight"], weights[1]["weight"])
    assert (trainer, mirror) == ("nnUNetTrainer", (0, 1, 2))
    assert segmenter.described["kind"] == "nnU-Net v2, 3d_fullres, 2 folds"


class Evil:
    """What a hostile checkpoint holds: a call that unpickling makes."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_checkpoint_that_would_run_something_is_refused_and_does_not_run(tmp_path, nnunetv2):
    folder = an_nnunet(tmp_path, folds=(0,))
    ran = tmp_path / "ran"
    content = {"network_weights": {}, "trainer_name": Evil(ran), "init_args": {"configuration": "3d_fullres"}}
    torch.save(content, folder / "fold_0" / "checkpoint_final.pth")
    with pytest.raises(AnatomyError, match="weights_only=True"):
        load_segmenter(folder)
    assert not ran.exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"channels": ("T2", "LGE")}, "takes one image"),
        ({"labels": {"background": 0, "whole": [1, 2], "LVC": 2}}, "plain labels"),
        ({"labels": {"background": 0, "liver": 1, "spleen": 2, "aorta": 3}}, "--segmenter-labels"),
        ({"previous_stage": "3d_lowres"}, "needs the result of 3d_lowres"),
        ({"folds": ()}, "fold_0/checkpoint_final"),
        ({"architecture": {**ARCHITECTURE, "network_class_name": "subprocess.Popen"}}, "code of its own"),
        ({"architecture": {**ARCHITECTURE, "arch_kwargs": {"conv_op": "os.system"}}}, "code of its own"),
    ],
)
def test_an_nnunet_folder_that_cannot_be_used_is_refused_in_words(tmp_path, nnunetv2, change, words):
    with pytest.raises(AnatomyError, match=words):
        load_segmenter(an_nnunet(tmp_path, **change))


def test_without_the_package_it_says_what_to_install(tmp_path):
    with pytest.raises(AnatomyError, match="pip install nnunetv2"):
        load_segmenter(an_nnunet(tmp_path))


def test_codes_are_given_or_found_by_name(scripted):
    assert load_segmenter(scripted).codes == CODES
    assert load_segmenter(scripted, {"lv": 1, "myo": 2}).codes == {"lv": 1, "myo": 2}
    assert find_codes({"LV cavity": 1, "LV_myocardium": 5, "Aorta": 2}) == {"lv": 1, "myo": 5}
    with pytest.raises(AnatomyError, match="told among LV = 1, lvc = 2"):
        find_codes({"LV": 1, "lvc": 2, "myo": 3})


def test_wrong_codes_and_strange_folders_are_refused(scripted, drawing, tmp_path):
    with pytest.raises(AnatomyError, match="at least 8 classes"):
        load_segmenter(scripted, {"lv": 7}).segment(drawing[0])
    with pytest.raises(AnatomyError, match="is none of them"):
        load_segmenter(tmp_path)


def test_an_roi_elsewhere_leaves_no_heart(scripted, drawing):
    stack, _ = drawing
    segmenter = load_segmenter(scripted)
    here = segmenter.segment(stack).frame.origin_ras
    assert np.allclose(segmenter.segment(stack, Roi(here, (90, 90, 90))).frame.origin_ras, here, atol=1.0)
    with pytest.raises(AnatomyError, match="cavity of at least"):
        segmenter.segment(stack, Roi(stack.ijk_to_ras[:3, 3], (8, 8, 8)))


def test_our_own_folder_is_taken_too(repository):
    bundle = repository / "Resources" / "Models" / "cof-plus"
    if not (bundle / "models" / "segmenter" / "segmenter.json").is_file():
        pytest.skip("no model is bundled in this tree")
    assert isinstance(load_segmenter(bundle), Segmenter)


def test_generate_labels_the_anchor_with_it(scripted, drawing, tiny_bundle, a_case):
    stack, labels = drawing
    cine = generate(stack, a_case.record, tiny_bundle, segmenter=load_segmenter(scripted), frames=4, cycle=a_case.cycle)
    assert cine.labels_from == "segmenter"
    assert cine.provenance["segmenter"]["codes"] == CODES
    assert overlap(cine.labels[0], labels, 1) > 0.9
    assert tiny_bundle.segmenter is None  # the bundle is as it was


@pytest.mark.slow
@pytest.mark.usefixtures("read_outs_alone")
def test_the_command_takes_a_segmenter(scripted, drawing, tiny_bundle_folder, a_case, tmp_path, capsys):
    stack, labels = drawing
    write_nrrd(tmp_path / "anchor.nrrd", stack.voxels, stack.ijk_to_ras)
    write_nrrd(tmp_path / "cavity.nrrd", np.where(labels == 1, 3, 0).astype(np.uint8), stack.ijk_to_ras)
    write_nrrd(tmp_path / "whole.nrrd", labels, stack.ijk_to_ras)
    write_ecg(tmp_path, a_case.record)
    given = ["generate", "--anchor", str(tmp_path / "anchor.nrrd"), "--ecg", str(tmp_path / "ecg.hea"), "--frames", "4",
             "--model", str(tiny_bundle_folder), "--device", "cpu", "--quiet"]  # fmt: skip
    out = tmp_path / "out"
    named = ["--segmenter", str(scripted), "--segmenter-labels", "lv=3,myo=2,rv=1"]
    assert main([*given, *named, "--out", str(out)]) == 0
    facts = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert "MONAI bundle" in json.dumps(facts)
    cavity = ["--labels", str(tmp_path / "cavity.nrrd"), "--label-map", "lv=3"]
    assert main([*given, *named, *cavity, "--out", str(tmp_path / "added")]) == 0
    assert json.loads((tmp_path / "added" / "run.json").read_text("utf-8"))["labels_from"] == "user+segmenter"
    whole = ["--labels", str(tmp_path / "whole.nrrd"), "--label-map", "lv=1,myo=2,rv=3"]
    assert main([*given, *named, *whole, "--out", str(tmp_path / "whole")]) == 0
    assert "was not asked" in (tmp_path / "whole" / "run.json").read_text("utf-8")
    assert main([*given, *named, *cavity, "--labels-as-given", "--out", str(tmp_path / "other")]) == 2
    assert "Leave one out" in capsys.readouterr().err
    assert main([*given, *named[2:], "--out", str(tmp_path / "other")]) == 2
    assert "Give --segmenter" in capsys.readouterr().err
