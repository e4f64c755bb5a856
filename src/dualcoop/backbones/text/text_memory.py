"""What a text transformer keeps for its backward pass, and how it is kept small."""

import ctypes
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
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
# Groups between two returns of freed memory: at every group they would cost time, and four groups are a gigabyte.
GROUPS_BETWEEN_RETURNS = 4


def bytes_per_token(blocks: Sequence[Any], width: int, keys: int) -> int:
    """Bytes that residual attention blocks keep for each token of width W that attends to so many keys, in float32."""
    return len(blocks) * FLOAT_BYTES * (PER_UNIT * width + PER_SCORE * blocks[0].attn.num_heads * keys)


def encode_groups(
    encode: Callable[[Tensor, Tensor], Tensor], groups: Iterable[tuple[Tensor, Tensor]], kept_bytes: int
) -> Tensor:
    """Encode one group of prompts after the other, with the memory of one group beyond `KEPT_BYTES`.

    What the backward pass of a group needs is then computed again there instead of kept.

    Args:
        encode: prompts (K, L, W) and end positions (K,) to (K, W).
        groups: prompts and end positions of each.
        kept_bytes: what all of them together would keep.

    Returns:
        (M, W), in the groups' order.
    """
    recompute = torch.is_grad_enabled() and kept_bytes > KEPT_BYTES
    features = []
    for index, (prompts, ends) in enumerate(groups):
        if not recompute:
            features.append(encode(prompts, ends))
            continue
        tidy = prompts.device.type == "cpu" and index % GROUPS_BETWEEN_RETURNS == 0
        work = partial(_after_return, encode) if tidy else encode
        features.append(checkpoint(work, prompts, ends, use_reentrant=False, preserve_rng_state=False))
    return torch.cat(features)


def _after_return(encode: Callable[[Tensor, Tensor], Tensor], prompts: Tensor, ends: Tensor) -> Tensor:
    return_freed_memory()
    return encode(prompts, ends)


def return_freed_memory() -> None:
    """Give the system what was freed and glibc keeps, which before version 2.38 it hardly uses for aligned memory.

    Without this a process grows with the number of groups, although no more than one of them is alive.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
