"""Class-specific region feature aggregation and the dual logits: Eq. 3, 5 and 6 of the paper."""

from typing import NamedTuple

import torch
from torch import Tensor

AGGREGATIONS = ("softmax", "average", "maximum")


class DualLogits(NamedTuple):
    """Positive and negative logit of every (image, class) pair, each of shape (B, M)."""

    positive: Tensor
    negative: Tensor


def region_weights(similarities: Tensor, *, spatial_scale: float, aggregation: str = "softmax") -> Tensor:
    """Weights over the regions, one map per class; they sum to 1 over R.

    Args:
        similarities: cosines between regions and positive text features, (B, R, M).
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


def dual_logits(
    region_features: Tensor,
    positive_text: Tensor | None,
    negative_text: Tensor | None,
    *,
    spatial_scale: float,
    logit_scale: float,
    logit_bias: float | Tensor = 0.0,
    aggregation: str = "softmax",
) -> DualLogits:
    """Positive and negative logits of every class (Eq. 5 and 6, scaled as in Eq. 3).

    The weights over regions come from the positive similarities and serve both logits. With one prompt only
    (rows M2 and M3 of Table 5) the weights come from that prompt and the other logit is 0, so that the
    probability is the sigmoid of the single logit, or of its negative.

    Args:
        region_features: (B, R, D), L2-normalised over D.
        positive_text: (M, D), L2-normalised, or None for the negative prompt alone.
        negative_text: (M, D), L2-normalised, or None for the positive prompt alone.
        spatial_scale: inverse temperature of the softmax over regions (20 for CLIP).
        logit_scale: scale of the aggregated cosine (100 for CLIP; the published code's 20 times 5).
        logit_bias: added to the positive logit, one number or one per class (M,); 0 for CLIP, near the log
            prior of a label for backbones that were trained with a bias.
        aggregation: see `region_weights`.

    Returns:
        DualLogits of two (B, M) tensors.

    Raises:
        ValueError: when both text features are None, or for an unknown aggregation.
    """
    if positive_text is None and negative_text is None:
        raise ValueError("dual_logits needs positive_text, negative_text or both; got neither")
    leading = positive_text if positive_text is not None else negative_text
    assert leading is not None
    leading_similarities = region_features @ leading.T
    weights = region_weights(leading_similarities, spatial_scale=spatial_scale, aggregation=aggregation)
    leading_logits = logit_scale * aggregate_regions(leading_similarities, weights)
    if negative_text is None:
        return DualLogits(leading_logits + logit_bias, torch.zeros_like(leading_logits))
    if positive_text is None:
        return DualLogits(torch.zeros_like(leading_logits) + logit_bias, leading_logits)
    negative = logit_scale * aggregate_regions(region_features @ negative_text.T, weights)
    return DualLogits(leading_logits + logit_bias, negative)


def probabilities(logits: DualLogits) -> Tensor:
    """Probability that each label is present (Eq. 3): softmax over (negative, positive), (B, M)."""
    return torch.sigmoid(logits.positive - logits.negative)
