"""Aggregated similarities in pieces, so that memory does not grow with images times regions times classes.

Eq. 5 and 6 need the similarity of every region with all P prompts of every class, (B, R, P M) numbers, and the gradient
needs as many again. Neither exists as a whole here: a few images and classes are done at a time, in pieces that fit
into the processor's cache, and the backward pass computes the similarities again unless all of them are small. Products
with the text features of all prompts are one matrix product, as are their gradients.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dualcoop.functional.aggregation import region_weights

PIECE_BYTES = 2**22
"""No temporary is larger, save where one image and one class need more."""
KEPT_BYTES = 2**27
"""Similarities of a whole batch are kept for the backward pass up to this size, and computed again beyond it."""


def pieces(regions: Tensor, texts: Tensor) -> Iterator[tuple[slice, slice]]:
    """All images times all classes, such that similarities, regions and texts of a piece stay under `PIECE_BYTES` each.

    Of regions (B, R, D) and texts (P, M, D); images and classes of each piece.
    """
    (images, count, dimension), (prompts, classes, _) = regions.shape, texts.shape
    numbers = PIECE_BYTES // _accurate(texts.dtype).itemsize
    class_step = max(1, min(classes, numbers // (prompts * max(count, dimension))))
    image_step = max(1, numbers // (count * max(prompts * class_step, dimension)))
    for first_class in range(0, classes, class_step):
        for first_image in range(0, images, image_step):
            yield slice(first_image, first_image + image_step), slice(first_class, first_class + class_step)


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
        shape = (len(texts), len(regions), texts.shape[1])
        wanted = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        keep = wanted and math.prod(shape) * regions.shape[1] * texts.element_size() <= KEPT_BYTES
        kept = []
        sums = texts.new_empty(shape, dtype=_accurate(texts.dtype))
        for images, classes in pieces(regions, texts):
            similarities = _similarities(regions, texts, images, classes)
            accurate = similarities.to(sums.dtype)
            weights = region_weights(accurate[:, :, 0], spatial_scale=spatial_scale, aggregation=aggregation)
            sums[:, images, classes] = (weights[:, :, None] * accurate).sum(dim=1).transpose(0, 1)
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
        of_regions = torch.zeros_like(regions, dtype=sums.dtype) if ctx.needs_input_grad[0] else None
        of_texts = torch.zeros_like(texts, dtype=sums.dtype) if ctx.needs_input_grad[1] else None
        with torch.autocast(regions.device.type, enabled=False):
            for index, (images, classes) in enumerate(pieces(regions, texts)):
                similarities = kept[index] if kept else _similarities(regions, texts, images, classes)
                similarities = similarities.to(sums.dtype)
                weights = region_weights(
                    similarities[:, :, 0], spatial_scale=ctx.spatial_scale, aggregation=ctx.aggregation
                )
                upstream, means = (each[:, images, classes].transpose(0, 1)[:, None] for each in (gradient, sums))
                of_similarities = weights[:, :, None] * upstream
                if ctx.aggregation == "softmax":
                    through_weights = ((similarities - means) * upstream).sum(dim=2)
                    of_similarities[:, :, 0].addcmul_(through_weights, weights, value=ctx.spatial_scale)
                flat = of_similarities.to(texts.dtype).flatten(0, 1).flatten(1)
                if of_texts is not None:
                    features = regions[images].to(texts.dtype).flatten(0, 1)
                    of_texts[:, classes] += (flat.T @ features).unflatten(0, (len(texts), -1))
                if of_regions is not None:
                    product = flat @ texts[:, classes].flatten(0, 1)
                    of_regions[images] += product.view_as(of_regions[images])
        of_regions = None if of_regions is None else of_regions.to(regions.dtype)
        return of_regions, None if of_texts is None else of_texts.to(texts.dtype), None, None


def _similarities(regions: Tensor, texts: Tensor, images: slice, classes: slice) -> Tensor:
    """Cosines of a piece: (b, R, P, m)."""
    product = regions[images].to(texts.dtype).flatten(0, 1) @ texts[:, classes].flatten(0, 1).T
    return product.view(-1, regions.shape[1], len(texts), product.shape[1] // len(texts))


def _accurate(dtype: torch.dtype) -> torch.dtype:
    """The dtype of softmax and sums: at least float32."""
    return torch.promote_types(dtype, torch.float32)
