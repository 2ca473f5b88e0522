"""B-splines with natural ends, against SciPy's interpolation."""

import numpy as np
import pytest
import torch
from COFGeneratorLib.motion.fields import identity_positions, sample_at, sample_slices, spline_matrix
from COFGeneratorLib.motion.splines import coefficient_matrix, weights_at


@pytest.mark.parametrize("nodes", [4, 5, 33])
def test_coefficients_and_weights_are_the_natural_cubic_spline(nodes):
    places = np.linspace(-1.0, nodes, 61)  # beyond the ends it stays
    index, weights = weights_at(torch.from_numpy(places), nodes)
    found = np.einsum("nw,nwm->nm", weights.numpy(), coefficient_matrix(nodes)[index.numpy()])
    assert np.abs(found - spline_matrix(nodes, places)).max() < 1e-12


@pytest.mark.parametrize("nodes", [1, 2])
def test_few_nodes_are_a_constant_and_a_line(nodes):
    index, weights = weights_at(torch.tensor([0.0, 0.25, 1.0], dtype=torch.float64), nodes)
    found = np.einsum("nw,nwm->nm", weights.numpy(), coefficient_matrix(nodes)[index.numpy()])
    assert np.allclose(found @ np.arange(nodes), [0.0, 0.25 * (nodes - 1), nodes - 1.0])


@pytest.mark.parametrize("shape", [(5, 9, 11), (1, 9, 11), (2, 1, 7), (4, 6, 1)])
def test_sampling_slice_by_slice_is_sampling(shape):
    generator = torch.Generator().manual_seed(3)
    image = torch.rand(2, 3, *shape, generator=generator)
    positions = identity_positions((3, 4, 5)) + 8.0 * torch.rand(2, 3, 3, 4, 5, generator=generator) - 3.0
    assert (sample_slices(image, positions) - sample_at(image, positions)).abs().max() < 1e-4
