"""How far two ways to compute the same numbers may lie apart: from their dtype and the number of summands.

Processors, kernels, numbers of threads and batch sizes add in different orders. Adding n terms, each order is off by
about sqrt(n) roundings of the size of the result, since roundings are as often up as down (Higham, Accuracy and
Stability of Numerical Algorithms, second edition, section 2.8; n roundings at most). Layers add what each of them does,
because normalisation keeps what passes between them at one size. So no bound here comes from what one processor gave.

What is the same computation on the same batch with the same number of threads is compared with `torch.equal`.
"""

import math

import torch
from torch import Tensor

MARGIN = 4.0
"""For two results that are both rounded, and for exponentials, norms and divisions, which cost a few roundings each."""


def rounding(dtype: torch.dtype, *, terms: int, layers: int = 1) -> float:
    """Deviation of two computations relative to their largest value.

    Args:
        dtype: the coarsest that takes part.
        terms: summands of the longest sum or dot product in a layer.
        layers: sums behind each other.
    """
    return MARGIN * layers * math.sqrt(terms) * torch.finfo(dtype).eps


def logit_rounding(*, terms: int, layers: int, logit_scale: float, regions: int) -> float:
    """Deviation of two float32 computations of a logit, Eq. 6, from images and words.

    An error of a similarity moves the logit by its own share, and by the weights, which follow the exponential of the
    similarities: together by no more than 1 + log(regions), as regions further below the best have next to no weight.
    """
    return logit_scale * (1 + math.log(regions)) * rounding(torch.float32, terms=terms, layers=layers)


def probability_rounding(*, terms: int, layers: int, logit_scale: float, regions: int) -> float:
    """The same of a probability, Eq. 3: the sigmoid of a difference of two logits is nowhere steeper than 1 / 4."""
    return 2 / 4 * logit_rounding(terms=terms, layers=layers, logit_scale=logit_scale, regions=regions)


def assert_agree(found: Tensor, expected: Tensor, *, terms: int, layers: int = 1, scale: float | None = None) -> None:
    """The same numbers up to `rounding` in the coarser of their dtypes.

    Args:
        found: any shape.
        expected: of the same shape.
        terms: see `rounding`.
        layers: see `rounding`.
        scale: size of what is added where results may cancel; by default the largest expected value.
    """
    coarser = max((found.dtype, expected.dtype), key=lambda dtype: torch.finfo(dtype).eps)
    size = float(expected.detach().abs().max()) if scale is None else scale
    bound = rounding(coarser, terms=terms, layers=layers) * size
    torch.testing.assert_close(found, expected, rtol=0, atol=bound, check_dtype=False)
