"""Aggregated similarities in pieces, so that memory does not grow with images times regions times classes.

Eq. 5 and 6 need the similarity of every region with all P prompts of every class, (B, R, P M) numbers, and the gradient
needs as many again. Neither exists as a whole here: a few images and classes are done at a time, in pieces that fit
into the processor's cache, and the backward pass computes the similarities again unless all of them are small. Products
with the text features of all prompts are one matrix product, as are their gradients.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dualcoop.functional.aggregation import region_weights

PIECE_BYTES = 2**22
"""No temporary is larger, save where one image and one class need more."""
KEPT_BYTES = 2**27
"""Similarities of a whole batch are kept for the backward pass up to this size, and computed again beyond it."""


class Piece(NamedTuple):
    """Images and classes that are done together."""

    images: slice
    classes: slice


def pieces(regions: Tensor, texts: Tensor) -> Iterator[Piece]:
    """All images times all classes, such that similarities, regions and texts of a piece stay under `PIECE_BYTES` each.

    Args:
        regions: (B, R, D).
        texts: (P, M, D).
    """
    (images, count, dimension), (prompts, classes, _) = regions.shape, texts.shape
    numbers = PIECE_BYTES // _accurate(texts.dtype).itemsize
    class_step = max(1, min(classes, numbers // (prompts * max(count, dimension))))
    image_step = max(1, numbers // (count * max(prompts * class_step, dimension)))
    for first_class in range(0, classes, class_step):
        for first_image in range(0, images, image_step):
            yield Piece(
                slice(first_image, min(first_image + image_step, images)),
                slice(first_class, min(first_class + class_step, classes)),
            )


def aggregated_in_pieces(
    regions: Tensor, texts: Tensor, *, spatial_scale: float, aggregation: str = "softmax"
) -> Tensor:
    """`aggregation.aggregated_similarities` in bounded memory, and differentiable once.

    Regions are brought to the texts' dtype piece by piece, and autocast changes nothing. In half precision the products
    are computed in half precision, the softmax and the sums over regions in float32.
    """
    with torch.autocast(regions.device.type, enabled=False):
        sums: Tensor = _InPieces.apply(regions, texts, spatial_scale, aggregation)
    return sums.to(texts.dtype)


class _InPieces(torch.autograd.Function):
    """`aggregated_in_pieces`, forward and backward."""

    @staticmethod
    def forward(ctx: Any, regions: Tensor, texts: Tensor, spatial_scale: float, aggregation: str) -> Tensor:
        """Value, and what the backward pass needs: the inputs, and similarities where they are small."""
        prompts, classes, _ = texts.shape
        images, count, _ = regions.shape
        wanted = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        keep = wanted and prompts * images * count * classes * texts.element_size() <= KEPT_BYTES
        kept = []
        sums = texts.new_empty(prompts, images, classes, dtype=_accurate(texts.dtype))
        for piece in pieces(regions, texts):
            similarities = _similarities(regions, texts, piece)
            accurate = similarities.to(sums.dtype)
            weights = region_weights(accurate[:, :, 0], spatial_scale=spatial_scale, aggregation=aggregation)
            sums[:, piece.images, piece.classes] = (weights[:, :, None] * accurate).sum(dim=1).transpose(0, 1)
            if keep:
                kept.append(similarities)
        ctx.save_for_backward(regions, texts, sums, *kept)
        ctx.spatial_scale, ctx.aggregation = spatial_scale, aggregation
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """Gradients of regions and texts, exact up to rounding.

        With similarities s of each prompt, weights w, and sums S whose gradients are g: ds = g w, and for the leading
        prompt under the softmax besides scale w times the sum of g (s - S) over all prompts.
        """
        regions, texts, sums, *kept = ctx.saved_tensors
        wants_regions, wants_texts = ctx.needs_input_grad[:2]
        prompts = len(texts)
        of_regions = torch.zeros_like(regions, dtype=sums.dtype) if wants_regions else None
        of_texts = torch.zeros_like(texts, dtype=sums.dtype) if wants_texts else None
        with torch.autocast(regions.device.type, enabled=False):
            for index, piece in enumerate(pieces(regions, texts)):
                similarities = kept[index] if kept else _similarities(regions, texts, piece)
                similarities = similarities.to(sums.dtype)
                weights = region_weights(
                    similarities[:, :, 0], spatial_scale=ctx.spatial_scale, aggregation=ctx.aggregation
                )
                upstream, means = (
                    each[:, piece.images, piece.classes].transpose(0, 1)[:, None] for each in (gradient, sums)
                )
                of_similarities = weights[:, :, None] * upstream
                if ctx.aggregation == "softmax":
                    through_weights = ((similarities - means) * upstream).sum(dim=2)
                    of_similarities[:, :, 0].addcmul_(through_weights, weights, value=ctx.spatial_scale)
                flat = of_similarities.to(texts.dtype).flatten(0, 1).flatten(1)
                if of_texts is not None:
                    features = _rows(regions, piece, texts.dtype)
                    of_texts[:, piece.classes] += (flat.T @ features).unflatten(0, (prompts, -1))
                if of_regions is not None:
                    product = flat @ texts[:, piece.classes].flatten(0, 1)
                    of_regions[piece.images] += product.view_as(of_regions[piece.images])
        return (
            None if of_regions is None else of_regions.to(regions.dtype),
            None if of_texts is None else of_texts.to(texts.dtype),
            None,
            None,
        )


def _similarities(regions: Tensor, texts: Tensor, piece: Piece) -> Tensor:
    """Cosines of a piece: (b, R, P, m)."""
    product = _rows(regions, piece, texts.dtype) @ texts[:, piece.classes].flatten(0, 1).T
    return product.view(-1, regions.shape[1], len(texts), product.shape[1] // len(texts))


def _rows(regions: Tensor, piece: Piece, dtype: torch.dtype) -> Tensor:
    """Regions of a piece in a matrix: (b R, D)."""
    return regions[piece.images].to(dtype).flatten(0, 1)


def _accurate(dtype: torch.dtype) -> torch.dtype:
    """The dtype of softmax and sums: at least float32."""
    return torch.promote_types(dtype, torch.float32)
