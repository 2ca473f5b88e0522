"""A tiny bundle with random weights, and one phantom case: enough to run the whole path."""

import pytest


@pytest.fixture(scope="session")
def tiny_model():
    import torch
    from COFGeneratorLib.generator.model import MotionModel
    from COFGeneratorLib.generator.networks.ecg_encoder import EcgEncoder
    from COFGeneratorLib.generator.networks.expected_flow import ExpectedFlow, ExpectedFlowConfig
    from COFGeneratorLib.generator.networks.grid import MotionGrid
    from COFGeneratorLib.generator.networks.pack import PackScale

    torch.manual_seed(0)
    grid = MotionGrid(phases=6)
    config = ExpectedFlowConfig(widths=(16, 16, 16), blocks=1, modes=2, hidden=16, components=4, patterns=4)
    return MotionModel(grid, EcgEncoder(), PackScale((0.6, 0.5, 0.9)), with_a_basis(ExpectedFlow(grid, config))).to(
        "cpu"
    )


def with_a_basis(flow):
    """Return a flow with a random basis: orthonormal patterns, courses of a few percent of the motion."""
    import torch

    shape = flow.patterns.shape
    flow.patterns.copy_(torch.linalg.qr(torch.randn(shape[1:].numel(), shape[0]))[0].T.reshape(shape))
    flow.courses.copy_(torch.randn(flow.courses.shape))
    flow.courses[:, 0] = 0.0
    return flow


@pytest.fixture(scope="session")
def plain_model(tiny_model):
    """The papers' plain flow with the other parts of the tiny model, nothing done to its motion afterwards."""
    from dataclasses import replace

    import torch
    from COFGeneratorLib.generator.choices import PostProcessing, SamplerDefaults
    from COFGeneratorLib.generator.networks.flow_network import FlowConfig, VelocityUNet

    torch.manual_seed(0)
    network = FlowConfig(widths=(16, 16, 16), heads=2, hidden=16, prediction="v", anatomy="labels")
    flow = VelocityUNet(tiny_model.grid, network)
    torch.nn.init.normal_(flow.out.weight, std=0.02)
    sampler = SamplerDefaults("euler", 2, draw=True)
    return replace(
        tiny_model, flow=flow, sampler=sampler, after=PostProcessing(False, False, False, keep_tissue=False)
    ).to("cpu")


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
