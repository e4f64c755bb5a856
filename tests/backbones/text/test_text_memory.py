"""Memory of the text path: what is kept for the backward pass, and that it stays bounded."""

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from backbones.tiny_models import CLIP_TEXT, EMBED_DIM
from dualcoop.backbones.text import text_memory
from dualcoop.backbones.text.text_memory import bytes_per_token
from dualcoop.backbones.text.tower import TextTower

CLASSES = 24
PREFIX = 6


def tower_of(**changes: Any) -> TextTower:
    torch.manual_seed(0)
    return TextTower.from_config(EMBED_DIM, {**CLIP_TEXT, "layers": 3, **changes}, quick_gelu=True).requires_grad_(
        False
    )


def kept_bytes(tower: TextTower, work: Callable[[], Tensor]) -> int:
    """Bytes that a computation keeps for its backward pass, weights aside, each storage once."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in tower.parameters()}
    found: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = work()
    assert result.requires_grad
    return sum(found.values())


def bound(monkeypatch: pytest.MonkeyPatch, group: int, kept: int) -> None:
    for module in ("causal", "tower"):
        monkeypatch.setattr(f"dualcoop.backbones.text.{module}.GROUP_BYTES", group)
    monkeypatch.setattr(text_memory, "KEPT_BYTES", kept)


def shared_prompts(tower: TextTower, classes: int = CLASSES, length: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    names = torch.randn(classes, length, tower.width)
    return names, torch.full((classes,), length - 1), torch.randn(PREFIX, tower.width, requires_grad=True)


def specific_prompts(tower: TextTower, classes: int = CLASSES) -> tuple[Tensor, Tensor]:
    prompts = torch.randn(classes, tower.context_length, tower.width, requires_grad=True)
    return prompts, torch.full((classes,), tower.context_length - 1)


@pytest.mark.parametrize("changes", [{}, {"width": 128, "heads": 2}, {"no_causal_mask": True, "pool_type": "last"}])
def test_the_estimate_is_an_upper_bound_and_not_twice_too_large(changes: dict[str, Any]) -> None:
    tower = tower_of(layers=8, **changes)
    per_token = bytes_per_token(tower.transformer.resblocks, tower.width, tower.context_length)
    estimate = CLASSES * tower.context_length * per_token
    kept = kept_bytes(tower, lambda: tower(*specific_prompts(tower)))
    assert estimate / 2 < kept < estimate


@pytest.mark.parametrize("kind", ["shared", "class-specific", "without a causal mask"])
def test_beyond_the_bound_little_more_than_the_prompts_is_kept(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tower = tower_of(**({"no_causal_mask": True, "pool_type": "last"} if kind == "without a causal mask" else {}))
    given = shared_prompts(tower, 200) if kind == "shared" else specific_prompts(tower, 200)
    in_one = kept_bytes(tower, lambda: tower(*given))
    bound(monkeypatch, group=20_000, kept=20_000)
    recomputed = kept_bytes(tower, lambda: tower(*given))
    assert recomputed < 3 * given[0].nbytes
    assert recomputed < in_one / 8


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("kind", ["shared", "without a causal mask"])
def test_no_group_takes_more_than_the_bound(kind: str, gradients: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    tower = tower_of(**({"no_causal_mask": True, "pool_type": "last"} if kind == "without a causal mask" else {}))
    keys = tower.context_length if kind != "shared" else PREFIX + 4
    per_token = bytes_per_token(tower.transformer.resblocks, tower.width, keys)
    bound(monkeypatch, group=50 * per_token, kept=10 * per_token)
    seen: list[int] = []
    tower.transformer.resblocks[1].ln_1.register_forward_hook(
        lambda _, inputs, __: seen.append(inputs[0][..., 0].numel())
    )
    with torch.set_grad_enabled(gradients):
        tower(*(shared_prompts(tower) if kind == "shared" else specific_prompts(tower)))
    assert len(seen) > 2
    assert max(seen) <= 50


def test_small_work_is_not_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tower = tower_of()
    seen: list[int] = []
    tower.transformer.resblocks[0].ln_1.register_forward_hook(lambda *_: seen.append(1))
    tower(*specific_prompts(tower)).sum().backward()
    assert len(seen) == 1
    bound(monkeypatch, group=2**30, kept=1)
    tower(*specific_prompts(tower)).sum().backward()
    assert len(seen) == 3


@pytest.mark.parametrize("kind", ["shared", "class-specific", "without a causal mask"])
def test_freed_memory_is_returned_every_few_groups_forward_and_backward(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    returns: list[int] = []
    monkeypatch.setattr(text_memory, "return_freed_memory", lambda: returns.append(1))
    tower = tower_of(**({"no_causal_mask": True, "pool_type": "last"} if kind == "without a causal mask" else {}))
    given = shared_prompts(tower) if kind == "shared" else specific_prompts(tower)
    bound(monkeypatch, group=1, kept=1)
    features = tower(*given)
    assert len(returns) == CLASSES // text_memory.GROUPS_BETWEEN_RETURNS
    features.sum().backward()
    assert len(returns) == 2 * CLASSES // text_memory.GROUPS_BETWEEN_RETURNS


def test_work_whose_memory_is_kept_returns_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_memory, "return_freed_memory", lambda: pytest.fail("returned"))
    tower = tower_of()
    tower(*specific_prompts(tower)).sum().backward()


@pytest.mark.parametrize(
    ("platform", "library", "expected"),
    [("linux", "glibc", [0]), ("linux", "another", []), ("win32", "glibc", [])],
)
def test_memory_is_returned_where_there_is_glibc(
    platform: str, library: str, expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    found = SimpleNamespace(malloc_trim=calls.append) if library == "glibc" else SimpleNamespace()
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(text_memory.ctypes, "CDLL", lambda name: found)
    text_memory.return_freed_memory()
    assert calls == expected


def test_gradients_of_groups_are_no_larger_than_the_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    tower = tower_of()
    prompts, ends = specific_prompts(tower)
    bound(monkeypatch, group=1, kept=1)
    allocated: list[int] = []

    class Allocations(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            if isinstance(result, Tensor) and result.shape == prompts.shape and not result._is_view():
                allocated.append(1)
            return result

    with Allocations():
        tower(prompts, ends).sum().backward()
    assert len(allocated) < CLASSES / 2
