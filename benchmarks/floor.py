"""What a step cannot do without: operations counted from the prompts, and this machine's rates for them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from benchmarks.timing import sample, synchronise
from dualcoop.prompts import PromptLearner

# A multiplication and its addition are two operations.
MATRIX_SIZE = 2048
COPIED_BYTES = 2**28
REPEATS = 5


@dataclass(frozen=True)
class Rates:
    """Of one machine.

    Attributes:
        float32, bfloat16: operations per second of square matrix products.
        copy: bytes per second read and written by a copy.
    """

    float32: float
    bfloat16: float
    copy: float


def measure_rates(device: torch.device) -> Rates:
    """The best of a few measurements each: a floor should be hard to reach."""
    return Rates(_products(device, torch.float32), _products(device, torch.bfloat16), _copies(device))


def step_operations(weights: int, pairs: int) -> int:
    """Operations, forward and backward, of products with frozen weights and of attention.

    A product with a weight comes once more on the way back, for the gradient of its input; scores and weighted
    values come twice more, since both of their factors have gradients.

    Args:
        weights: multiplications with weights in the forward pass.
        pairs: multiplications between queries, keys and values in the forward pass.
    """
    return 2 * (2 * weights + 3 * pairs)


def text_operations(width: int, layers: int, embed_dim: int, prefix: int, lengths: Sequence[int]) -> int:
    """Operations, forward and backward, of a causal text tower for prompts that begin alike.

    Every token is computed once, those of the common prefix once for all prompts, none behind the end token. A
    block has four projections and an MLP of four times the width: 12 W^2 multiplications a token; and 2 W for each
    pair of a query and a key that it may see. Of the last block only keys and values of all tokens and the rest of
    the end tokens are needed.

    Args:
        width: W.
        layers: blocks.
        embed_dim: D.
        prefix: P, tokens that all prompts begin with.
        lengths: tokens of each prompt behind the prefix, end token included.
    """
    tokens, ends = prefix + sum(lengths), len(lengths)
    seen = _causal_pairs(prefix) + sum(prefix * length + _causal_pairs(length) for length in lengths)
    seen_by_ends = sum(prefix + length for length in lengths)
    weights = (layers - 1) * 12 * width**2 * tokens
    weights += width**2 * (2 * tokens + 10 * ends) + width * embed_dim * ends
    return step_operations(weights, 2 * width * ((layers - 1) * seen + seen_by_ends))


def head_operations(images: int, regions: int, classes: int, embed_dim: int) -> int:
    """Operations, forward and backward, of the head's two similarity maps; all else in it is small beside them."""
    return step_operations(2 * images * regions * classes * embed_dim, 0)


def prompt_lengths(prompts: PromptLearner) -> list[tuple[int, list[int]]]:
    """Common prefix and remaining lengths of each of the prompts.

    Shared contexts belong to the prefix, of class-specific ones only the start token does.
    """
    found = []
    for _, layout, _, _ in prompts.table.values():
        prefix = layout.prefix.shape[1] if prompts.config.class_specific else layout.names_start
        found.append((prefix, [int(end) + 1 - prefix for end in layout.end_positions]))
    return found


def _causal_pairs(tokens: int) -> int:
    return tokens * (tokens + 1) // 2


def _products(device: torch.device, dtype: torch.dtype) -> float:
    left, right = (torch.randn(MATRIX_SIZE, MATRIX_SIZE, device=device).to(dtype) for _ in range(2))

    def multiply() -> dict[str, float]:
        left @ right
        synchronise(device)
        return {}

    multiply()
    return 2 * MATRIX_SIZE**3 / min(sample(multiply).total for _ in range(REPEATS))


def _copies(device: torch.device) -> float:
    source = torch.zeros(COPIED_BYTES // 4, device=device)
    target = torch.empty_like(source)

    def copy() -> dict[str, float]:
        target.copy_(source)
        synchronise(device)
        return {}

    copy()
    return 2 * COPIED_BYTES / min(sample(copy).total for _ in range(REPEATS))
