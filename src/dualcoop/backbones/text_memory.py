"""What a text transformer keeps for its backward pass, and how it is kept small."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

GROUP_BYTES = 2**28
"""What prompts that are encoded together keep for the backward pass; one prompt at least is encoded."""
KEPT_BYTES = 2**30
"""What all prompts of one call may keep; beyond it every group is computed again in the backward pass."""
# Numbers per token, layer and unit of width: norms, q, k, v, attention, four times two of the MLP, sums.
PER_UNIT = 20
# Numbers per token, layer, head and key: scores, weights, and their copy by heads.
PER_SCORE = 3
FLOAT_BYTES = 4


def bytes_per_token(blocks: Sequence[Any], width: int, keys: int) -> int:
    """Bytes that residual attention blocks keep for each token of width W that attends to so many keys, in float32."""
    return len(blocks) * FLOAT_BYTES * (PER_UNIT * width + PER_SCORE * blocks[0].attn.num_heads * keys)


def recomputed(function: Callable[..., Tensor], *given: object) -> Tensor:
    """The function's value; what its backward pass needs is computed again there instead of kept."""
    value: Tensor = checkpoint(function, *given, use_reentrant=False, preserve_rng_state=False)
    return value


def in_groups(
    encode: Callable[[Tensor, Tensor], Tensor], prompts: Tensor, end_positions: Tensor, per_token: int
) -> Tensor:
    """Encode prompts of one length a group at a time, with the memory of one group beyond `KEPT_BYTES`.

    Args:
        encode: prompts (K, L, W) and end positions (K,) to (K, W).
        prompts: (M, L, W).
        end_positions: (M,).
        per_token: bytes that it keeps for each token.
    """
    count, length, _ = prompts.shape
    per_prompt = length * per_token
    recompute = torch.is_grad_enabled() and count * per_prompt > KEPT_BYTES
    step = max(1, GROUP_BYTES // per_prompt)
    features = []
    for start in range(0, count, step):
        part, ends = prompts[start : start + step], end_positions[start : start + step]
        features.append(recomputed(encode, part, ends) if recompute else encode(part, ends))
    return torch.cat(features)
