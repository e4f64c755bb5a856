"""Attention of a sequence to itself, as frozen towers run it."""

from typing import TypeGuard

from torch import Tensor, nn
from torch.nn import functional


class SelfAttention(nn.Module):
    """`nn.MultiheadAttention` of a batch-first sequence to itself: the same numbers without its transpositions.

    torch's module turns its input to (L, B, W) first. Its product with the weights is then not contiguous, and in
    bfloat16 on a CPU the weights are copied for every position, which takes many times as long as the attention.

    Args:
        attention: one that `supports` accepts; its tensors are shared.
    """

    def __init__(self, attention: nn.MultiheadAttention) -> None:
        super().__init__()
        self.in_proj_weight = attention.in_proj_weight
        self.in_proj_bias = attention.in_proj_bias
        self.out_proj = attention.out_proj
        self.num_heads = attention.num_heads
        self.head_dim = attention.head_dim
        self.embed_dim = attention.embed_dim

    @staticmethod
    def supports(attention: object) -> TypeGuard[nn.MultiheadAttention]:
        """Whether it is torch's own with one matrix for queries, keys and values, and nothing added to the sequence."""
        return (
            type(attention) is nn.MultiheadAttention
            and attention.batch_first
            and attention.in_proj_weight is not None
            and attention.bias_k is None
            and not attention.add_zero_attn
        )

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, *, need_weights: bool = False, attn_mask: Tensor | None = None
    ) -> tuple[Tensor, None]:
        """Result, and None for the weights, as `nn.MultiheadAttention` gives them: (B, L, W) to (B, L, W).

        The first three are the same tensor; `attn_mask` (L, L) is added to the scores.
        """
        assert query is key is value
        assert not need_weights
        projected = functional.linear(query, self.in_proj_weight, self.in_proj_bias)
        # (B, L, 3 W) to three times (B, heads, L, W / heads).
        queries, keys, values = projected.unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        mask = None if attn_mask is None else attn_mask.to(queries.dtype)
        attended = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        return self.out_proj(attended.transpose(1, 2).flatten(2)), None
