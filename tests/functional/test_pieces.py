"""The head in pieces against its slow twin, which computes all similarities at once."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.utils._python_dispatch import TorchDispatchMode

from dualcoop.functional import AGGREGATIONS, DualLogits, aggregate_regions, dual_logits, pieces, region_weights

CLIP = {"spatial_scale": 20.0, "logit_scale": 100.0}
MODES = ("dual", "positive", "negative")


def slow_dual_logits(
    regions: Tensor, positive: Tensor | None, negative: Tensor | None, bias: Tensor, aggregation: str
) -> DualLogits:
    leading = positive if positive is not None else negative
    weights = region_weights(regions @ leading.T, spatial_scale=CLIP["spatial_scale"], aggregation=aggregation)
    found = [
        torch.zeros(len(regions), len(leading), dtype=leading.dtype)
        if text is None
        else CLIP["logit_scale"] * aggregate_regions(regions @ text.T, weights)
        for text in (positive, negative)
    ]
    return DualLogits(found[0] + bias, found[1])


def case(
    images: int, regions: int, classes: int, dimension: int, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Regions, positive and negative text features, and a bias for each class, float32."""
    draw = torch.Generator().manual_seed(seed)
    shapes = (images, regions, dimension), (classes, dimension), (classes, dimension)
    features = [normalize(torch.randn(shape, generator=draw), dim=-1) for shape in shapes]
    return features[0], features[1], features[2], torch.randn(classes, generator=draw)


def value_and_gradients(
    function: Callable[..., DualLogits], tensors: tuple[Tensor, ...], mode: str = "dual", **options: Any
) -> list[Tensor]:
    """Both logits, and the gradients of a random sum of them by every tensor in use."""
    regions, positive, negative, bias = (tensor.clone().requires_grad_() for tensor in tensors)
    used = [regions, bias] + [positive] * (mode != "negative") + [negative] * (mode != "positive")
    logits = function(
        regions, None if mode == "negative" else positive, None if mode == "positive" else negative, bias, **options
    )
    draw = torch.Generator().manual_seed(1)
    upstream = torch.randn(2, *logits.positive.shape, generator=draw).to(logits.positive)
    (torch.stack(tuple(logits)) * upstream).sum().backward()
    return [logits.positive.detach(), logits.negative.detach(), *(tensor.grad for tensor in used)]


def fast(regions: Tensor, positive: Tensor, negative: Tensor, bias: Tensor, aggregation: str = "softmax") -> DualLogits:
    return dual_logits(regions, positive, negative, **CLIP, logit_bias=bias, aggregation=aggregation)


def slow(regions: Tensor, positive: Tensor, negative: Tensor, bias: Tensor, aggregation: str = "softmax") -> DualLogits:
    return slow_dual_logits(regions, positive, negative, bias, aggregation)


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
    mode=st.sampled_from(MODES),
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
    mode: str,
    aggregation: str,
) -> None:
    tensors = case(images, regions, classes, dimension)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces, "PIECE_BYTES", piece_bytes)
        patch.setattr(pieces, "KEPT_BYTES", kept_bytes)
        got = value_and_gradients(fast, tensors, mode, aggregation=aggregation)
    exact = tuple(tensor.double() for tensor in tensors)
    for mine, theirs in zip(got, value_and_gradients(slow, exact, mode, aggregation=aggregation), strict=True):
        # Gradients by similarities that hardly differ cancel: what counts is their size before that.
        assert float((mine - theirs).abs().max()) <= 1e-5 * max(float(theirs.abs().max()), 20 * 100 * 1e-2)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_agreement_within_a_hundred_thousandth_at_the_size_of_coco(aggregation: str) -> None:
    tensors = case(16, 197, 80, 512)
    got = value_and_gradients(fast, tensors, aggregation=aggregation)
    for mine, theirs in zip(got, value_and_gradients(slow, tensors, aggregation=aggregation), strict=True):
        assert relative(mine, theirs) < 1e-5


def test_no_temporary_is_larger_than_a_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    images, regions, classes, dimension = 24, 50, 120, 64
    monkeypatch.setattr(pieces, "PIECE_BYTES", 2**16)
    monkeypatch.setattr(pieces, "KEPT_BYTES", 0)
    tensors = [tensor.requires_grad_() for tensor in case(images, regions, classes, dimension)[:3]]
    with LargestTensor() as forward:
        sums = pieces.aggregated_in_pieces(tensors[0].detach(), torch.stack(tensors[1:]), spatial_scale=20.0)
    upstream = torch.randn_like(sums)
    with LargestTensor() as backward:
        sums.backward(upstream)
    texts = 4 * 2 * classes * dimension
    assert texts < 2**16 < 4 * images * regions * 2 * classes / 10
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
    value_and_gradients(fast, case(3, 4, 5, 6))
    assert len(computed) == products


def test_what_is_kept_is_small_beyond_the_bound(small_pieces: None) -> None:
    regions, positive, negative, _ = case(6, 7, 8, 9)
    saved: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.numel()) or t, lambda t: t):
        pieces.aggregated_in_pieces(regions, torch.stack([positive, negative]).requires_grad_(), spatial_scale=20.0)
    assert sorted(saved) == sorted([regions.numel(), 2 * positive.numel(), 2 * 6 * 8])


@pytest.mark.parametrize("bounds", [(1, 1), (100, 7), (2**24, 3)])
def test_pieces_cover_every_image_and_class_once(bounds: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE_BYTES", bounds[0])
    covered = torch.zeros(5, 11)
    for piece in pieces.pieces(5, bounds[1], 11, 8, 2, 4):
        covered[piece.images, piece.classes] += 1
    assert bool((covered == 1).all())


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float16, 1e-3), (torch.bfloat16, 1e-2)])
def test_regions_in_half_precision_change_no_more_than_their_rounding(dtype: torch.dtype, bound: float) -> None:
    regions, positive, negative, bias = case(4, 50, 30, 512)
    exact = value_and_gradients(fast, (regions, positive, negative, bias))
    got = value_and_gradients(fast, (regions.to(dtype), positive, negative, bias))
    assert [tensor.dtype for tensor in got] == [torch.float32, torch.float32, dtype, *[torch.float32] * 3]
    for mine, theirs in zip(got, exact, strict=True):
        assert relative(mine, theirs) < bound


def test_texts_in_bfloat16_give_logits_within_two_percent() -> None:
    tensors = case(4, 50, 30, 512)
    exact = value_and_gradients(fast, tensors)
    got = value_and_gradients(fast, tuple(tensor.bfloat16() for tensor in tensors))
    for mine, theirs in zip(got, exact, strict=True):
        assert mine.dtype == torch.bfloat16
        assert relative(mine, theirs) < 0.02


def test_autocast_leaves_the_head_in_full_precision() -> None:
    tensors = case(3, 4, 5, 6)
    exact = value_and_gradients(fast, tensors)
    with torch.autocast("cpu", torch.bfloat16):
        got = value_and_gradients(fast, tensors)
    for mine, theirs in zip(got, exact, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_frozen_regions_get_no_gradient_and_cost_none(small_pieces: None) -> None:
    regions, positive, negative, bias = case(3, 4, 5, 6)
    positive.requires_grad_()
    fast(regions, positive, negative, bias).negative.sum().backward()
    assert regions.grad is None
    assert float(positive.grad.abs().sum()) > 0


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_no_images_give_no_logits(aggregation: str) -> None:
    regions, positive, negative, bias = case(2, 4, 5, 6)
    logits = fast(regions[:0], positive, negative, bias, aggregation)
    assert [tuple(each.shape) for each in logits] == [(0, 5), (0, 5)]


class Head(nn.Module):
    def __init__(self, texts: Sequence[Tensor], aggregation: str) -> None:
        super().__init__()
        self.texts, self.aggregation = texts, aggregation

    def forward(self, regions: Tensor) -> tuple[Tensor, ...]:
        return tuple(fast(regions, *self.texts, self.aggregation))


@pytest.mark.parametrize("way", ["traced", "exported"])
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_recorded_head_serves_any_number_of_images(aggregation: str, way: str) -> None:
    regions, *texts = case(5, 4, 6, 8)
    head = Head(texts, aggregation).eval()
    with torch.no_grad():
        if way == "traced":
            recorded = torch.jit.trace(head, regions[:2], check_trace=False)
        else:
            batch = {"regions": {0: torch.export.Dim("batch")}}
            recorded = torch.export.export(head, (regions[:2],), dynamic_shapes=batch).module()
        for mine, theirs in zip(recorded(regions), head(regions), strict=True):
            torch.testing.assert_close(mine, theirs)
