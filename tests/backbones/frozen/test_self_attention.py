"""Attention of frozen towers against torch's own module."""

import pytest
import torch
from torch import Tensor, nn

from dualcoop.backbones.frozen.self_attention import SelfAttention
from tolerances import assert_agree

CAUSAL = torch.full((5, 5), float("-inf")).triu(1)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("mask", [None, CAUSAL], ids=["all", "causal"])
def test_values_and_gradients_are_those_of_torchs_module(mask: Tensor | None, bias: bool) -> None:
    torch.manual_seed(2)
    slow = nn.MultiheadAttention(24, 3, bias=bias, batch_first=True).requires_grad_(False).eval()
    if bias:
        nn.init.normal_(slow.in_proj_bias)
        nn.init.normal_(slow.out_proj.bias)
    weights = torch.randn(4, 5, 24)
    results = []
    for attention in (SelfAttention(slow), slow):
        given = torch.randn(4, 5, 24, generator=torch.Generator().manual_seed(3)).requires_grad_()
        found, nothing = attention(given, given, given, need_weights=False, attn_mask=mask)
        assert nothing is None
        (found * weights).sum().backward()
        results.append((found, given.grad))
    for mine, expected in zip(*results, strict=True):
        assert_agree(mine, expected, terms=24, layers=8)


@pytest.mark.parametrize(
    "attention",
    [
        nn.MultiheadAttention(24, 3),
        nn.MultiheadAttention(24, 3, kdim=12, batch_first=True),
        nn.MultiheadAttention(24, 3, add_bias_kv=True, batch_first=True),
        nn.MultiheadAttention(24, 3, add_zero_attn=True, batch_first=True),
        nn.Linear(24, 24),
    ],
)
def test_attention_of_another_kind_is_not_taken(attention: nn.Module) -> None:
    assert not SelfAttention.supports(attention)
