"""Class-specific region feature aggregation: Eq. 5 and 6 of the paper."""

import torch
from torch import Tensor

AGGREGATIONS = ("softmax", "average", "maximum")


def region_weights(similarities: Tensor, *, spatial_scale: float, aggregation: str = "softmax") -> Tensor:
    """Weights over the regions, one map per class; they sum to 1 over R.

    Args:
        similarities: cosines between regions and the leading prompt's text features, (B, R, M).
        spatial_scale: inverse temperature of the softmax over regions (20 for CLIP).
        aggregation: "softmax" (Eq. 5), "average", or "maximum" (the region with the largest cosine);
            the last two are the ablations of Fig. 3.

    Returns:
        (B, R, M), same dtype as `similarities`.

    Raises:
        ValueError: for an unknown aggregation.
    """
    if aggregation == "softmax":
        return torch.softmax(spatial_scale * similarities, dim=1)
    if aggregation == "average":
        return torch.full_like(similarities, 1.0 / similarities.shape[1])
    if aggregation == "maximum":
        best = similarities.argmax(dim=1, keepdim=True)
        return torch.zeros_like(similarities).scatter_(1, best, 1.0)
    raise ValueError(f"aggregation is {aggregation!r}, expected one of {', '.join(AGGREGATIONS)}")


def aggregate_regions(similarities: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum over the regions: (B, R, M) and (B, R, M) to (B, M). Eq. 5 and 6."""
    return (weights * similarities).sum(dim=1)


def aggregated_similarities(
    regions: Tensor, texts: Tensor, *, spatial_scale: float, aggregation: str = "softmax"
) -> Tensor:
    """Sums over the regions of weights times similarities, with weights from the leading prompt (Eq. 5 and 6).

    All similarities (P, B, R, M) exist at once; `pieces.aggregated_in_pieces` gives the same in bounded memory. This
    one has no loop over images, so that what records operations (torch.export, torch.jit.trace, torch.compile)
    records it for any number of them.

    Args:
        regions: (B, R, D), of any floating dtype.
        texts: (P, M, D), the prompts of every class, the leading one first.
        spatial_scale: see `region_weights`.
        aggregation: see `region_weights`.

    Returns:
        (P, B, M), in the texts' dtype; differentiable.
    """
    similarities = [regions.to(texts.dtype) @ text.T for text in texts.unbind()]
    weights = region_weights(similarities[0], spatial_scale=spatial_scale, aggregation=aggregation)
    return torch.stack([aggregate_regions(each, weights) for each in similarities])
