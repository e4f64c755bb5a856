import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dualcoop.functional import AGGREGATIONS, aggregate_regions, region_weights

seeds = st.integers(0, 2**31 - 1)


def cosines(seed):
    """Two images, five regions, three classes."""
    return 2 * torch.rand(2, 5, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) - 1


@given(seed=seeds, aggregation=st.sampled_from(AGGREGATIONS), scale=st.floats(0.0, 200.0))
@settings(deadline=None)
def test_region_weights_are_a_distribution_over_regions(seed, aggregation, scale):
    weights = region_weights(cosines(seed), spatial_scale=scale, aggregation=aggregation)
    assert weights.min() >= 0
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(2, 3, dtype=torch.float64))


@given(seed=seeds)
@settings(deadline=None)
def test_the_maximum_is_the_softmax_at_a_large_spatial_scale(seed):
    similarities = cosines(seed)
    one_hot = region_weights(similarities, spatial_scale=1.0, aggregation="maximum")
    maximum = aggregate_regions(similarities, one_hot)
    softmax = aggregate_regions(similarities, region_weights(similarities, spatial_scale=1e4))
    torch.testing.assert_close(maximum, similarities.amax(dim=1))
    # The softmax falls short by at most log(R) / scale.
    assert ((maximum - softmax) >= -1e-12).all()
    assert (maximum - softmax).max() <= math.log(5) / 1e4
