"""int8 with a scale for each region."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dualcoop.cache import QuantisedRegions
from dualcoop.cache.quantised import quantise

FLOATS = st.floats(-1e4, 1e4, width=32)


@given(arrays(np.float32, (2, 3, 5), elements=FLOATS))
def test_no_value_moves_by_more_than_half_of_its_regions_scale(regions):
    values, scales = quantise(regions)
    assert values.dtype == np.int8
    kept = QuantisedRegions(values, scales)[np.arange(2)]
    bound = np.abs(regions).max(axis=-1, keepdims=True) / 127 / 2
    assert (np.abs(kept - regions) <= bound * (1 + 1e-5) + 1e-37).all()


def test_each_value_is_the_slow_obvious_one():
    regions = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    values, scales = quantise(regions)
    for image in range(2):
        for region in range(3):
            scale = max(abs(value) for value in regions[image, region].tolist()) / 127
            assert scales[image, region] == pytest.approx(scale)
            expected = [round(value / scale) for value in regions[image, region].tolist()]
            assert values[image, region].tolist() == expected


def test_a_region_of_zeros_stays_zero():
    values, scales = quantise(np.zeros((1, 1, 4), np.float32))
    assert not QuantisedRegions(values, scales)[0].any()


def test_writing_and_reading_by_index():
    regions = np.random.default_rng(0).normal(size=(4, 3, 2)).astype(np.float32)
    kept = QuantisedRegions(np.zeros((4, 3, 2), np.int8), np.zeros((4, 3), np.float32))
    kept[np.array([2, 0])] = regions[:2]
    assert kept.shape == (4, 3, 2)
    np.testing.assert_allclose(kept[np.array([2, 0])], regions[:2], atol=0.02)
    assert (kept[np.array([2, 0]), 0] == kept[np.array([2, 0])][:, 0]).all()
    assert not kept[1].any()
