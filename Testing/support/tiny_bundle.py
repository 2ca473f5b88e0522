"""A tiny bundle with random weights, and one phantom case: enough to run the whole path."""

import pytest


@pytest.fixture(scope="session")
def tiny_model():
    import torch
    from COFGeneratorLib.generator.model import MotionModel
    from COFGeneratorLib.generator.networks.ecg_encoder import EcgEncoder
    from COFGeneratorLib.generator.networks.flow_network import FlowConfig, VelocityUNet
    from COFGeneratorLib.generator.networks.grid import MotionGrid
    from COFGeneratorLib.generator.networks.mean_network import MeanConfig, MotionMean
    from COFGeneratorLib.generator.networks.pack import PackScale

    torch.manual_seed(0)
    grid = MotionGrid(phases=6)
    mean = MotionMean(grid, MeanConfig(widths=(16, 16, 16), blocks=1, modes=2, hidden=16))
    flow = VelocityUNet(grid, FlowConfig(widths=(16, 16, 16), heads=2, hidden=16))
    torch.nn.init.normal_(flow.out.weight, std=0.02)
    model = MotionModel(grid, EcgEncoder(), PackScale((0.6, 0.5, 0.9)), mean, flow, spread=(0.3, 0.3, 0.3))
    return model.to("cpu")


@pytest.fixture(scope="session")
def tiny_bundle_folder(tiny_model, tmp_path_factory):
    from COFGeneratorLib.generator.bundle import save_bundle

    folder = tmp_path_factory.mktemp("bundle")
    save_bundle(folder, tiny_model, {"name": "tiny", "version": "1"})
    return folder


@pytest.fixture(scope="session")
def tiny_bundle(tiny_bundle_folder):
    from COFGeneratorLib.generator import load_bundle

    return load_bundle(tiny_bundle_folder)


@pytest.fixture(scope="session")
def a_case():
    from COFTrainingLib.phantom.cases import draw_case

    return draw_case(31, spacing_mm=(10.0, 2.4))
