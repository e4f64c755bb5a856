"""The fast text path against its slow twin: all tokens, open_clip's own transformer, nothing shared."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from backbones.tiny_models import CLIP_TEXT, EMBED_DIM
from dualcoop.backbones.text import causal, text_memory
from dualcoop.backbones.text.causal import length_groups
from dualcoop.backbones.text.tower import TextTower

LAYERS = 3
CLASSES = 40
CONTEXT = 5
TOWERS: dict[str, dict[str, Any]] = {
    "clip": {"layers": LAYERS},
    "layer scale": {"layers": LAYERS, "ls_init_value": 0.5},
    "one layer": {"layers": 1},
    "siglip": {"layers": LAYERS, "no_causal_mask": True, "pool_type": "last"},
}


def tower_of(changes: dict[str, Any]) -> TextTower:
    torch.manual_seed(0)
    tower = TextTower.from_config(EMBED_DIM, {**CLIP_TEXT, **changes}, quick_gelu="ls_init_value" not in changes)
    for parameter in tower.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return tower.eval().requires_grad_(False)


def prompts_of(tower: TextTower) -> tuple[Tensor, Tensor, Tensor]:
    """Start token and context (P, W), names (M, L - P, W) padded to the full length, ends behind the prefix."""
    torch.manual_seed(1)
    length = tower.context_length - CONTEXT - 1
    ends = torch.arange(CLASSES) % (length - 2) if tower.causal else torch.full((CLASSES,), length - 1)
    return torch.randn(CONTEXT + 1, tower.width), torch.randn(CLASSES, length, tower.width), ends


def slow_twin(tower: TextTower, prefix: Tensor, names: Tensor, ends: Tensor) -> Tensor:
    prompts = torch.cat([prefix.expand(CLASSES, -1, -1) if prefix.dim() == 2 else prefix, names], dim=1)
    assert prompts.shape[1] == tower.context_length
    return tower.ln_final(tower.encode_plainly(prompts, ends + CONTEXT + 1)) @ tower.text_projection


def value_and_gradient(features: Tensor, contexts: Tensor) -> tuple[Tensor, Tensor]:
    features = normalize(features.float(), dim=-1)
    weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(2))
    (gradient,) = torch.autograd.grad((features * weights).sum(), contexts)
    return features.detach(), gradient


def relative(got: Tensor, expected: Tensor) -> float:
    return float((got - expected).norm() / expected.norm())


@pytest.mark.parametrize("bound", [2**40, 40_000], ids=["in one piece", "recomputed in groups"])
@pytest.mark.parametrize("specific", [False, True], ids=["shared", "class-specific"])
@pytest.mark.parametrize("kind", TOWERS)
def test_values_and_gradients_are_those_of_all_tokens_through_open_clip(
    kind: str, specific: bool, bound: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("causal", "tower"):
        monkeypatch.setattr(f"dualcoop.backbones.text.{module}.GROUP_BYTES", bound)
    monkeypatch.setattr(text_memory, "KEPT_BYTES", bound)
    monkeypatch.setattr(causal, "SMALLEST_GROUP", 4)
    tower = tower_of(TOWERS[kind])
    prefix, names, ends = prompts_of(tower)
    if specific:
        prefix = torch.randn(CLASSES, CONTEXT + 1, tower.width)
    context = prefix.requires_grad_()
    expected = value_and_gradient(slow_twin(tower, context, names, ends), context)
    fast = tower(torch.cat([context, names], dim=1), ends + CONTEXT + 1) if specific else tower(names, ends, context)
    got = value_and_gradient(fast, context)
    assert relative(got[0], expected[0]) < 1e-5
    assert relative(got[1], expected[1]) < 1e-5


@pytest.mark.parametrize("bound", [2**40, 40_000], ids=["in one piece", "recomputed in groups"])
@pytest.mark.parametrize("specific", [False, True], ids=["shared", "class-specific"])
def test_bfloat16_stays_within_three_percent(specific: bool, bound: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("causal", "tower"):
        monkeypatch.setattr(f"dualcoop.backbones.text.{module}.GROUP_BYTES", bound)
    monkeypatch.setattr(text_memory, "KEPT_BYTES", bound)
    tower = tower_of({"layers": LAYERS})
    for parameter in tower.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    prefix, names, ends = prompts_of(tower)
    context = (torch.randn(CLASSES, CONTEXT + 1, tower.width) if specific else prefix).requires_grad_()
    expected = value_and_gradient(slow_twin(tower, context, names, ends), context)
    with torch.autocast("cpu", torch.bfloat16):
        fast = (
            tower(torch.cat([context, names], dim=1), ends + CONTEXT + 1) if specific else tower(names, ends, context)
        )
    got = value_and_gradient(fast, context)
    assert relative(got[0], expected[0]) < 0.03
    assert relative(got[1], expected[1]) < 0.03


def test_frozen_weights_get_no_gradient_and_learnable_ones_the_right_one() -> None:
    tower = tower_of({"layers": LAYERS})
    prefix, names, ends = prompts_of(tower)
    context = prefix.requires_grad_()
    tower(names, ends, context).sum().backward()
    assert all(parameter.grad is None for parameter in tower.parameters())
    weights = [block.attn.in_proj_weight for block in tower.transformer.resblocks]
    for weight in weights:
        weight.requires_grad_(True)
    expected = torch.autograd.grad(slow_twin(tower, prefix, names, ends).square().sum(), weights)
    got = torch.autograd.grad(tower(names, ends, prefix).square().sum(), weights)
    for mine, slow in zip(got, expected, strict=True):
        assert relative(mine, slow) < 1e-5


def test_the_shared_prefix_is_computed_once_for_all_classes() -> None:
    tower = tower_of({"layers": LAYERS})
    prefix, names, ends = prompts_of(tower)
    seen: list[tuple[int, int]] = []
    for block in tower.transformer.resblocks:
        block.ln_1.register_forward_hook(lambda _, inputs, __: seen.append(tuple(inputs[0].shape[:2])))
    tower(names[:, :3], torch.full_like(ends, 2), prefix)
    assert seen == [(1, len(prefix))] * LAYERS + [(CLASSES, 3)] * LAYERS


@pytest.mark.parametrize("bound", [1, 30, 10_000])
def test_groups_hold_every_prompt_once_and_respect_the_bound(bound: int) -> None:
    ends = [3, 9, 3, 5, 9, 4] * 20
    groups = length_groups(ends, bound)
    assert sorted(row for group in groups for row in group) == list(range(len(ends)))
    for group in groups:
        assert len(group) == 1 or len(group) * (max(ends[row] for row in group) + 1) <= bound


def test_only_a_small_group_is_filled_up_with_shorter_prompts() -> None:
    ends = [2] * 50 + [7] * 40 + [4] * 3
    groups = length_groups(ends, 10_000)
    assert [sorted({ends[row] for row in group}) for group in groups] == [[7], [2, 4], [2]]
    assert [len(group) for group in groups] == [40, 32, 21]


def test_blocks_of_another_kind_go_through_open_clip() -> None:
    tower = tower_of({"layers": LAYERS})
    tower.transformer.resblocks[0].attn.add_zero_attn = True
    assert not causal.supports(tower.transformer.resblocks)
