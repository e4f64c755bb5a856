"""Bounds that orders of summation keep and mistakes do not."""

import pytest
import torch

from tolerances import assert_agree, rounding


def dot_products(terms: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Many dot products summed one term after the other, and in pairs."""
    draw = torch.Generator().manual_seed(terms)
    factors = torch.randn(2, 500, terms, generator=draw).to(dtype)
    products = factors[0] * factors[1]
    one_by_one = torch.zeros(500, dtype=dtype)
    for column in products.unbind(1):
        one_by_one = one_by_one + column
    while products.shape[1] > 1:
        products = products[:, ::2] + products[:, 1::2]
    return one_by_one, products[:, 0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("terms", [16, 1024])
def test_two_orders_of_one_sum_agree_and_are_not_the_same(dtype, terms):
    one_by_one, in_pairs = dot_products(terms, dtype)
    assert not torch.equal(one_by_one, in_pairs)
    assert_agree(one_by_one, in_pairs, terms=terms)


def test_a_mistake_of_a_thousandth_is_found():
    one_by_one, in_pairs = dot_products(1024, torch.float32)
    with pytest.raises(AssertionError):
        assert_agree(one_by_one * 1.001, in_pairs, terms=1024)


def test_the_coarser_dtype_counts():
    exact = torch.linspace(0, 1, 50)
    assert_agree(exact.half(), exact, terms=1)
    with pytest.raises(AssertionError):
        assert_agree(exact.half().float(), exact, terms=1)


def test_bounds_grow_with_layers_and_the_root_of_the_summands():
    bound = rounding(torch.float32, terms=100)
    assert rounding(torch.float32, terms=400, layers=3) == pytest.approx(6 * bound)
