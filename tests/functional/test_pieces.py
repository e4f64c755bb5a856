"""The head in pieces against its readable twin, which computes all similarities at once."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.utils._python_dispatch import TorchDispatchMode

from dualcoop.functional import AGGREGATIONS, aggregated_similarities, logits_of_prompts, pieces
from dualcoop.functional.pieces import aggregated_in_pieces
from tolerances import assert_agree, logit_rounding

SCALE = 20.0
LARGEST_DRAW = 4.0
"""Of some hundred normally distributed numbers."""


def case(images: int, regions: int, classes: int, dimension: int, prompts: int = 2) -> tuple[Tensor, Tensor]:
    """Regions (B, R, D) and texts (P, M, D), float32."""
    draw = torch.Generator().manual_seed(0)
    shapes = (images, regions, dimension), (prompts, classes, dimension)
    found = [normalize(torch.randn(shape, generator=draw), dim=-1) for shape in shapes]
    return found[0], found[1]


def value_and_gradients(
    function: Callable[..., Tensor], regions: Tensor, texts: Tensor, aggregation: str = "softmax"
) -> list[Tensor]:
    """The sums, and the gradients of a random sum of them by regions and texts."""
    inputs = [tensor.clone().requires_grad_() for tensor in (regions, texts)]
    sums = function(*inputs, spatial_scale=SCALE, aggregation=aggregation)
    upstream = torch.randn(sums.shape, generator=torch.Generator().manual_seed(1)).to(sums)
    return [sums.detach(), *torch.autograd.grad((sums * upstream).sum(), inputs)]


def relative(got: Tensor, expected: Tensor) -> float:
    return float((got.double() - expected.double()).norm() / expected.double().norm().clamp(min=1e-12))


class LargestTensor(TorchDispatchMode):
    """Records the bytes of the largest storage that any operation has made."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        given = {each.untyped_storage().data_ptr() for each in args if isinstance(each, Tensor)}
        for each in result if isinstance(result, tuple | list) else [result]:
            if isinstance(each, Tensor) and each.untyped_storage().data_ptr() not in given:
                self.bytes = max(self.bytes, each.untyped_storage().nbytes())
        return result


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few images and classes each, and nothing kept."""
    monkeypatch.setattr(pieces, "PIECE_BYTES", 512)
    monkeypatch.setattr(pieces, "KEPT_BYTES", 0)


@given(
    images=st.integers(1, 5),
    regions=st.integers(1, 6),
    classes=st.integers(1, 7),
    dimension=st.integers(2, 9),
    piece_bytes=st.sampled_from([1, 64, 300, 1000, 2**24]),
    kept_bytes=st.sampled_from([0, 2**27]),
    prompts=st.integers(1, 4),
    aggregation=st.sampled_from(AGGREGATIONS),
)
@settings(deadline=None, max_examples=200)
def test_values_and_gradients_are_those_of_all_similarities_at_once(
    images: int,
    regions: int,
    classes: int,
    dimension: int,
    piece_bytes: int,
    kept_bytes: int,
    prompts: int,
    aggregation: str,
) -> None:
    tensors = case(images, regions, classes, dimension, prompts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "PIECE_BYTES", piece_bytes)
        patch.setattr(pieces, "KEPT_BYTES", kept_bytes)
        value, *gradients = value_and_gradients(aggregated_in_pieces, *tensors, aggregation)
    exact = (tensor.double() for tensor in tensors)
    right, *right_gradients = value_and_gradients(aggregated_similarities, *exact, aggregation)
    assert_agree(value, right, terms=max(dimension, regions), layers=2, scale=1 + math.log(regions))
    terms = max(dimension, regions * images, prompts * classes)
    for mine, theirs in zip(gradients, right_gradients, strict=True):
        # Similarities that hardly differ cancel: what counts is the size before that.
        scale = max(float(theirs.abs().max()), SCALE * LARGEST_DRAW)
        assert_agree(mine, theirs, terms=terms, layers=3, scale=scale)


@pytest.mark.parametrize("prompts", [2, 3])
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_agreement_within_a_hundred_thousandth_at_the_size_of_coco(aggregation: str, prompts: int) -> None:
    tensors = case(16, 197, 80, 512, prompts)
    got, expected = (
        value_and_gradients(function, *tensors, aggregation)
        for function in (aggregated_in_pieces, aggregated_similarities)
    )
    for mine, theirs in zip(got, expected, strict=True):
        assert relative(mine, theirs) < 1e-5


def test_no_temporary_is_larger_than_a_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    images, regions, classes, dimension = 24, 50, 120, 64
    monkeypatch.setattr(pieces, "PIECE_BYTES", 2**16)
    monkeypatch.setattr(pieces, "KEPT_BYTES", 0)
    given_regions, texts = case(images, regions, classes, dimension)
    with LargestTensor() as forward:
        sums = aggregated_in_pieces(given_regions, texts.requires_grad_(), spatial_scale=SCALE)
    upstream = torch.randn_like(sums)
    with LargestTensor() as backward:
        sums.backward(upstream)
    assert 4 * texts.numel() < 2**16 < 4 * images * regions * 2 * classes / 10
    assert forward.bytes <= 2**16
    assert backward.bytes <= 2**16


@pytest.mark.parametrize(("kept_bytes", "products"), [(0, 2), (2**27, 1)])
def test_similarities_are_computed_again_only_where_they_are_not_kept(
    kept_bytes: int, products: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "KEPT_BYTES", kept_bytes)
    computed = []
    original = pieces._similarities
    monkeypatch.setattr(pieces, "_similarities", lambda *given: computed.append(1) or original(*given))
    value_and_gradients(aggregated_in_pieces, *case(3, 4, 5, 6))
    assert len(computed) == products


def test_what_is_kept_is_small_beyond_the_bound(small_pieces: None) -> None:
    regions, texts = case(6, 7, 8, 9)
    saved: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.numel()) or t, lambda t: t):
        aggregated_in_pieces(regions, texts.requires_grad_(), spatial_scale=SCALE)
    assert sorted(saved) == sorted([regions.numel(), texts.numel(), 2 * 6 * 8])


@pytest.mark.parametrize("bounds", [(1, 1), (100, 7), (2**24, 3)])
def test_pieces_cover_every_image_and_class_once(bounds: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE_BYTES", bounds[0])
    covered = torch.zeros(5, 11)
    for piece in pieces.pieces(torch.empty(5, bounds[1], 8), torch.empty(2, 11, 8)):
        covered[piece] += 1
    assert bool((covered == 1).all())


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float16, 1e-3), (torch.bfloat16, 1e-2)])
def test_regions_in_half_precision_change_no_more_than_their_rounding(dtype: torch.dtype, bound: float) -> None:
    regions, texts = case(4, 50, 30, 512)
    exact = value_and_gradients(aggregated_in_pieces, regions, texts)
    got = value_and_gradients(aggregated_in_pieces, regions.to(dtype), texts)
    assert [tensor.dtype for tensor in got] == [torch.float32, dtype, torch.float32]
    for mine, theirs in zip(got, exact, strict=True):
        assert relative(mine, theirs) < bound


def test_texts_in_bfloat16_give_sums_within_two_percent() -> None:
    tensors = case(4, 50, 30, 512)
    exact = value_and_gradients(aggregated_in_pieces, *tensors)
    got = value_and_gradients(aggregated_in_pieces, *(tensor.bfloat16() for tensor in tensors))
    for mine, theirs in zip(got, exact, strict=True):
        assert mine.dtype == torch.bfloat16
        assert relative(mine, theirs) < 0.02


def test_autocast_leaves_the_head_in_full_precision() -> None:
    tensors = case(3, 4, 5, 6)
    exact = value_and_gradients(aggregated_in_pieces, *tensors)
    with torch.autocast("cpu", torch.bfloat16):
        got = value_and_gradients(aggregated_in_pieces, *tensors)
    for mine, theirs in zip(got, exact, strict=True):
        assert torch.equal(mine, theirs)


def test_frozen_regions_get_no_gradient_and_cost_none(small_pieces: None) -> None:
    regions, texts = case(3, 4, 5, 6)
    aggregated_in_pieces(regions, texts.requires_grad_(), spatial_scale=SCALE)[1].sum().backward()
    assert regions.grad is None
    assert float(texts.grad.abs().sum()) > 0


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_no_images_give_no_sums(aggregation: str) -> None:
    regions, texts = case(2, 4, 5, 6)
    sums = aggregated_in_pieces(regions[:0], texts, spatial_scale=SCALE, aggregation=aggregation)
    assert sums.shape == (2, 0, 5)


class Head(nn.Module):
    """The readable head, as exported models have it."""

    def __init__(self, texts: Tensor, aggregation: str) -> None:
        super().__init__()
        self.texts, self.aggregation = texts, aggregation

    def forward(self, regions: Tensor) -> tuple[Tensor, ...]:
        names = ("positive", "negative", "third")[: len(self.texts)]
        return tuple(
            logits_of_prompts(
                regions,
                dict(zip(names, self.texts.unbind(), strict=True)),
                spatial_scale=SCALE,
                logit_scale=100.0,
                aggregation=self.aggregation,
                aggregate=aggregated_similarities,
            )
        )


@pytest.mark.parametrize("way", ["traced", "exported", "compiled"])
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("prompts", [1, 2, 3])
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_recorded_head_serves_any_number_of_images(aggregation: str, way: str, prompts: int) -> None:
    regions, texts = case(5, 4, 6, 8, prompts)
    head = Head(texts, aggregation).eval()
    with torch.no_grad():
        if way == "traced":
            recorded = torch.jit.trace(head, regions[:2], check_trace=False)
        elif way == "exported":
            batch = {"regions": {0: torch.export.Dim("batch")}}
            recorded = torch.export.export(head, (regions[:2],), dynamic_shapes=batch).module()
        else:
            torch.compiler.reset()
            recorded = torch.compile(head, backend="eager", fullgraph=True, dynamic=True)
        bound = logit_rounding(terms=8, layers=1, logit_scale=100.0, regions=4)
        for mine, theirs in zip(recorded(regions), head(regions), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=bound)
