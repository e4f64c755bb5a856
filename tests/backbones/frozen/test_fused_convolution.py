"""Fused convolutions against the layers that they stand for, one after the other."""

from typing import Any

import pytest
import torch
from timm.layers import Conv2dSame
from torch import Tensor, nn

from dualcoop.backbones.frozen import fused_convolution
from dualcoop.backbones.frozen.fused_convolution import FusedConvolution, fuses
from tolerances import assert_agree

SHAPES: list[dict[str, Any]] = [
    {"kernel_size": 1},
    {"kernel_size": 3, "padding": 1, "groups": 8},
    {"kernel_size": 3, "padding": (0, 1), "stride": 2},
    {"kernel_size": 3, "padding": 2, "dilation": 2},
]
SAME: list[dict[str, Any]] = [
    {"kernel_size": 3, "stride": 2},
    {"kernel_size": 5, "stride": 2, "groups": 8},
    {"kernel_size": 3, "stride": 1},
    {"kernel_size": 1, "stride": 2},
    {"kernel_size": (5, 3), "stride": (2, 4)},
]
SIZE = {"terms": 8 * 3 * 3, "layers": 3, "scale": 30.0}
"""A product forward, and one with its square backward; the largest number of `features` is about 30."""
ACTIVATIONS = [nn.Identity, nn.ReLU, nn.ReLU6]

needs_fusion = pytest.mark.skipif(not fuses("cpu", torch.float32), reason="this torch has no fused convolutions")
needs_bfloat16 = pytest.mark.skipif(
    not fuses("cpu", torch.bfloat16), reason="this processor has no bfloat16 that torch's convolutions use"
)


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(5)


def convolution(shape: dict[str, Any], kind: type[nn.Conv2d] = nn.Conv2d) -> nn.Conv2d:
    return kind(8, 8, **shape).requires_grad_(False)


def features() -> Tensor:
    """Large enough that ReLU6 cuts at both ends."""
    given = torch.randn(2, 8, 16, 16, generator=torch.Generator().manual_seed(4))
    return (9 * given).contiguous(memory_format=torch.channels_last)


CASES = [*((shape, nn.Conv2d) for shape in SHAPES), *((shape, Conv2dSame) for shape in SAME)]


@needs_fusion
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("shape", "kind"), CASES)
def test_values_are_those_of_the_layers(
    shape: dict[str, Any], kind: type[nn.Conv2d], activation: type[nn.Module]
) -> None:
    layer, given = convolution(shape, kind), features()
    fused = FusedConvolution(layer, activation())
    assert_agree(fused(given), activation()(layer(given)), **SIZE)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("shape", "kind"), CASES)
def test_gradients_are_those_of_the_layers(
    shape: dict[str, Any], kind: type[nn.Conv2d], activation: type[nn.Module]
) -> None:
    layer = convolution(shape, kind)
    fused = FusedConvolution(layer, activation())
    gradients = []
    for run in (fused, lambda given: activation()(layer(given))):
        given = features().requires_grad_()
        run(given).square().sum().backward()
        gradients.append(given.grad)
    assert_agree(*gradients, **SIZE)


@needs_fusion
@pytest.mark.parametrize("contiguous", [torch.channels_last, torch.contiguous_format])
def test_a_sum_comes_before_the_activation(contiguous: torch.memory_format) -> None:
    layer, given = convolution(SHAPES[1]), features()
    added = features().contiguous(memory_format=contiguous)
    fused = FusedConvolution(layer, nn.ReLU())
    assert_agree(fused(given, added), (layer(given) + added).relu(), **SIZE)
    wanted = features().requires_grad_()
    fused(given, wanted).sum().backward()
    assert wanted.grad is not None


@needs_bfloat16
@pytest.mark.parametrize(("shape", "kind"), CASES)
def test_bfloat16_is_as_near_as_that_of_the_layers(shape: dict[str, Any], kind: type[nn.Conv2d]) -> None:
    layer, given = convolution(shape, kind), features()
    exact = nn.functional.relu6(layer(given))
    layer = layer.bfloat16()
    found = FusedConvolution(layer, nn.ReLU6())(given)
    assert found.dtype == torch.bfloat16
    theirs = nn.functional.relu6(layer(given.bfloat16()))
    assert float((found - exact).norm()) < 1.1 * float((theirs - exact).norm()) + 1e-3


@pytest.mark.parametrize(
    ("layer", "activation"),
    [
        (nn.Conv2d(8, 8, 3, padding="same"), nn.ReLU()),
        (nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"), nn.ReLU()),
        (Conv2dSame(8, 8, 3, dilation=2), nn.ReLU()),
        (nn.Conv2d(8, 8, 3), nn.Hardswish()),
        (nn.LazyConv2d(8, 3), nn.ReLU()),
    ],
)
def test_what_would_change_is_not_taken(layer: nn.Conv2d, activation: nn.Module) -> None:
    assert not FusedConvolution.supports(layer, activation)


def test_only_processors_and_precisions_that_can_do_it_fuse() -> None:
    assert not fuses("cuda", torch.bfloat16)
    assert not fuses("cpu", torch.float64)


@pytest.mark.parametrize("broken", ["raises", "other numbers"])
def test_operators_that_changed_are_not_used(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(self: FusedConvolution, given: Tensor, added: Tensor | None = None) -> Tensor:
        if broken == "raises":
            raise RuntimeError("the operator takes other arguments")
        return self.plain(given, added) + 1

    monkeypatch.setattr(FusedConvolution, "forward", forward)
    assert not fused_convolution.fuses.__wrapped__("cpu", torch.float32)


def test_asking_leaves_torchs_generator_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread may draw augmentations from it at the same time."""
    for owner, name in ((torch, "manual_seed"), (torch.random, "fork_rng"), (torch, "set_rng_state")):
        monkeypatch.setattr(owner, name, lambda *_, **__: pytest.fail("torch's generator was touched"))
    before = torch.get_rng_state()
    assert fuses("cpu", torch.float32) == fused_convolution.fuses.__wrapped__("cpu", torch.float32)
    assert torch.equal(torch.get_rng_state(), before)
