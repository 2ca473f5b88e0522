"""Examples of ten phantoms on a coarse grid, made once."""

from functools import partial

import pytest
import torch
from COFGeneratorLib.generator.networks.dynamics import own_embedding
from COFGeneratorLib.generator.networks.ecg_encoder import EcgEncoder
from COFGeneratorLib.generator.networks.grid import MotionGrid
from COFTrainingLib.training.examples.flow_cache import build_flow_cache
from COFTrainingLib.training.examples.flow_data import FlowData, load_flow_data
from support.once import made_once

SUBJECTS, FIRST_SEED = 10, 40


@pytest.fixture(scope="session")
def grid() -> MotionGrid:
    """Return the grid of the examples."""
    return MotionGrid(shape=(6, 16, 16), spacing_mm=(22.0, 10.0, 10.0), phases=6)


@pytest.fixture(scope="session")
def make_examples(tmp_path_factory, grid):
    """Return a function of when anchors are taken that returns the examples. Many tests read them: copy to change."""

    def make(anchor: str) -> FlowData:
        def build(folder) -> None:
            build_flow_cache(folder / "cache", SUBJECTS, FIRST_SEED, grid, workers=2, anchor=anchor)

        folder = made_once(tmp_path_factory, f"examples-{anchor}", build) / "cache"
        torch.manual_seed(0)
        return load_flow_data(build_flow_cache(folder, SUBJECTS, FIRST_SEED, grid, anchor=anchor), EcgEncoder().eval())

    return make


@pytest.fixture(scope="session")
def data(make_examples) -> FlowData:
    """Return the examples with anchors at the R wave."""
    return make_examples("ed")


@pytest.fixture(scope="session")
def heard(data) -> FlowData:
    """Return the same examples with the embeddings of their ECGs as conditions, as the papers' flow hears them."""
    torch.manual_seed(0)
    return load_flow_data(data.cache, encoder := EcgEncoder().eval(), partial(own_embedding, encoder))
