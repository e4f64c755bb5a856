"""The causal text transformer for prompts: exact, without work that cannot reach the text features.

Prompts are many, short and similar, so four things are done otherwise than in a general transformer. What all
prompts begin with (start token and shared context, Eq. 1) is computed once per layer, and every prompt attends
to its keys and values. The last block computes the pooled tokens alone. Prompts are grouped by length and cut
after their end token. Attention is written out, since the fused kernels' backward pass takes longer than
everything else together on texts of ten tokens. What a group keeps for the backward pass is computed again where all
groups together would keep too much (`text_memory.py`).
"""

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import torch
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn
from torch.nn.functional import linear

from dualcoop.backbones.frozen.self_attention import SelfAttention
from dualcoop.backbones.text.text_memory import GROUP_BYTES, bytes_per_token, encode_groups

SMALLEST_GROUP = 32
KeysValues: TypeAlias = tuple[Tensor, Tensor]
"""Keys and values of one block, each (heads, tokens, W / heads)."""


def supports(blocks: Iterable[nn.Module]) -> bool:
    """Whether all blocks are open_clip's plain residual attention blocks."""
    return all(
        type(block) is ResidualAttentionBlock
        and not hasattr(block, "ln_1_kv")
        and SelfAttention.supports(block.attn)
        and block.attn.in_proj_bias is not None
        for block in blocks
    )


def encode_causal(
    blocks: Sequence[Any], prompts: Tensor, end_positions: Tensor, positions: Tensor, prefix: Tensor | None = None
) -> Tensor:
    """Output of the last block at each prompt's end token.

    Args:
        blocks: for which `supports` holds.
        prompts: (M, L, W), without positions and without the prefix.
        end_positions: (M,), index of the pooled token, counted behind the prefix.
        positions: (P + L, W) or more, the positional embedding.
        prefix: (P, W), without positions: what all prompts begin with.

    Returns:
        (M, W), differentiable with respect to prompts, prefix and learnable weights.
    """
    prefix_length = 0 if prefix is None else len(prefix)
    shared = None if prefix is None else encode_prefix(blocks, prefix + positions[:prefix_length])
    positions = positions[prefix_length:]
    longest = int(end_positions.max()) + 1
    per_token = bytes_per_token(blocks, prompts.shape[2], prefix_length + longest)
    groups = length_groups(end_positions.tolist(), GROUP_BYTES // per_token)
    tokens = int(end_positions.sum()) + len(end_positions)
    order = torch.tensor([row for group in groups for row in group], device=prompts.device)
    sizes = [len(group) for group in groups]
    # Brought into order and split once: the gradient of a selection for each group would be as large as all prompts.
    parts = zip(prompts.index_select(0, order).split(sizes), end_positions[order].split(sizes), strict=True)

    def encode(part: Tensor, ends: Tensor) -> Tensor:
        return encode_group(blocks, part[:, : int(ends.max()) + 1], ends, positions, shared)

    return encode_groups(encode, parts, tokens * per_token).index_select(0, order.argsort())


def length_groups(ends: Sequence[int], token_bound: int) -> list[list[int]]:
    """Rows of prompts of similar length: of one length where there are 32 such prompts, else of neighbouring ones.

    Of (M,) indices of the last token that matters; no group has more tokens, padding included, save a single row.
    """
    groups: list[list[int]] = []
    current: list[int] = []
    # From the longest to the shortest: short prompts are padded only to fill up a small group.
    for row in sorted(range(len(ends)), key=lambda row: -ends[row]):
        longest = ends[current[0]] + 1 if current else 0
        full = current and (len(current) + 1) * longest > token_bound
        shorter = len(current) >= SMALLEST_GROUP and ends[row] + 1 < longest
        if full or shorter or not groups:
            groups.append(current := [])
        current.append(row)
    return groups


def encode_prefix(blocks: Sequence[Any], prefix: Tensor) -> list[KeysValues]:
    """Keys and values of the shared prefix (P, W) in every block."""
    found = []
    state = prefix[None]
    length = prefix.shape[0]
    hidden = torch.ones(length, length, dtype=torch.bool, device=prefix.device).triu(1)
    for block in blocks:
        normed = block.ln_1(state)
        keys, values = _heads(block, normed, 1, 3)
        found.append((keys[0], values[0]))
        if len(found) < len(blocks):
            (queries,) = _heads(block, normed, 0, 1)
            state = _after_attention(block, state, _attend(queries, keys, values, hidden, None))
    return found


def encode_group(
    blocks: Sequence[Any],
    prompts: Tensor,
    end_positions: Tensor,
    positions: Tensor,
    shared: Sequence[KeysValues] | None,
) -> Tensor:
    """The same as `encode_causal` for prompts (K, L, W) that fit into memory together: (K, W).

    Here `positions` begins behind the prefix, of which there are the keys and values.
    """
    count, length, _ = prompts.shape
    rows = torch.arange(count, device=prompts.device)
    places = torch.arange(length, device=prompts.device)
    hidden = places[None] > places[:, None]
    behind_end = (places[None] > end_positions[:, None])[:, None, None]
    state = prompts + positions[:length]
    for index, block in enumerate(blocks):
        normed = block.ln_1(state)
        before = None if shared is None else shared[index]
        if index < len(blocks) - 1:
            queries, keys, values = _heads(block, normed, 0, 3)
            mixed = _attend(queries, keys, values, hidden, before)
        else:
            keys, values = _heads(block, normed, 1, 3)
            (queries,) = _heads(block, normed[rows, end_positions][:, None], 0, 1)
            mixed = _attend(queries, keys, values, behind_end, before)
            state = state[rows, end_positions][:, None]
        state = _after_attention(block, state, mixed)
    return state[:, 0]


def _heads(block: Any, normed: Tensor, first: int, last: int) -> tuple[Tensor, ...]:
    """Queries, keys, values (0, 1, 2), from `first` to before `last`: (K, L, W) to (K, heads, L, W / heads) each."""
    attention = block.attn
    width = attention.embed_dim
    taken = slice(first * width, last * width)
    projected = linear(normed, attention.in_proj_weight[taken], attention.in_proj_bias[taken])
    count, length, _ = normed.shape
    parts = projected.view(count, length, last - first, attention.num_heads, attention.head_dim)
    return parts.permute(2, 0, 3, 1, 4).unbind(0)


def _attend(queries: Tensor, keys: Tensor, values: Tensor, hidden: Tensor, before: KeysValues | None) -> Tensor:
    """Attention of queries (K, heads, Q, d) to the prompts' own tokens and to those before them: (K, Q, W).

    The softmax runs over both together; the prefix is not copied for every prompt.
    """
    count, heads, wanted, size = queries.shape
    scale = size**-0.5
    own = ((queries @ keys.transpose(-1, -2)).float() * scale).masked_fill(hidden, float("-inf"))
    if before is None:
        mixed = own.softmax(dim=-1).to(values.dtype) @ values
        return mixed.transpose(1, 2).flatten(2)
    prefix_keys, prefix_values = before
    by_head = queries.transpose(0, 1).flatten(1, 2)
    earlier = (by_head @ prefix_keys.transpose(-1, -2)).float() * scale
    earlier = earlier.view(heads, count, wanted, -1).transpose(0, 1)
    weights = torch.cat([earlier, own], dim=-1).softmax(dim=-1).to(values.dtype)
    to_prefix, to_own = weights.split([prefix_keys.shape[1], keys.shape[2]], dim=-1)
    from_prefix = (to_prefix.transpose(0, 1).flatten(1, 2) @ prefix_values).view(heads, count, wanted, size)
    return (to_own @ values).transpose(1, 2).flatten(2) + from_prefix.permute(1, 2, 0, 3).flatten(2)


def _after_attention(block: Any, state: Tensor, mixed: Tensor) -> Tensor:
    """The rest of a block: output projection and MLP, each added to what came in."""
    projection = block.attn.out_proj
    state = state + block.ls_1(linear(mixed, projection.weight, projection.bias))
    return state + block.ls_2(block.mlp(block.ln_2(state)))
