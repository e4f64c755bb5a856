"""The dual logits and the probability: Eq. 3 over Eq. 5 and 6 of the paper."""

from typing import NamedTuple

import torch
from torch import Tensor

from dualcoop.functional.pieces import aggregated_similarities


class DualLogits(NamedTuple):
    """Positive and negative logit of every (image, class) pair, each of shape (B, M)."""

    positive: Tensor
    negative: Tensor


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

    Memory stays bounded: the similarities (B, R, 2M) are computed in pieces of `pieces.PIECE_BYTES`, and once more
    in the backward pass where all of them are more than `pieces.KEPT_BYTES`.

    Args:
        region_features: (B, R, D), L2-normalised over D. Half precision is taken as it is and brought to the
            texts' dtype piece by piece.
        positive_text: (M, D), L2-normalised, or None for the negative prompt alone.
        negative_text: (M, D), L2-normalised, or None for the positive prompt alone.
        spatial_scale: inverse temperature of the softmax over regions (20 for CLIP).
        logit_scale: scale of the aggregated cosine (100 for CLIP; the published code's 20 times 5).
        logit_bias: added to the positive logit, one number or one per class (M,); 0 for CLIP, near the log
            prior of a label for backbones that were trained with a bias.
        aggregation: see `region_weights`.

    Returns:
        DualLogits of two (B, M) tensors, of the texts' dtype under autocast too; differentiable once.

    Raises:
        ValueError: when both text features are None, or for an unknown aggregation.
    """
    if positive_text is None and negative_text is None:
        raise ValueError("dual_logits needs positive_text, negative_text or both; got neither")
    given = [text for text in (positive_text, negative_text) if text is not None]
    if aggregation == "average":
        # Linear in the regions: their mean is one region that stands for all.
        regions = region_features.mean(dim=1, keepdim=True, dtype=given[0].dtype)
    else:
        regions = region_features
    sums = logit_scale * aggregated_similarities(
        regions, torch.stack(given), spatial_scale=spatial_scale, aggregation=aggregation
    )
    if negative_text is None:
        return DualLogits(sums[0] + logit_bias, torch.zeros_like(sums[0]))
    if positive_text is None:
        return DualLogits(torch.zeros_like(sums[0]) + logit_bias, sums[0])
    return DualLogits(sums[0] + logit_bias, sums[1])


def probabilities(logits: DualLogits) -> Tensor:
    """Probability that each label is present (Eq. 3): softmax over (negative, positive), (B, M)."""
    return torch.sigmoid(logits.positive - logits.negative)
