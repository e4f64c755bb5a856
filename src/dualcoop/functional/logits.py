"""The dual logits and the probability: Eq. 3 over Eq. 5 and 6 of the paper."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from dualcoop.functional.pieces import aggregated_in_pieces


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
    leading_text: Tensor | None = None,
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
        leading_text: (M, D), L2-normalised, of a prompt that gives the weights over regions and no logit.

    Returns:
        DualLogits of two (B, M) tensors, of the texts' dtype under autocast too; differentiable once.

    Raises:
        ValueError: when both text features are None, or for an unknown aggregation.
    """
    given = {"leading": leading_text, "positive": positive_text, "negative": negative_text}
    return logits_of_prompts(
        region_features,
        {name: text for name, text in given.items() if text is not None},
        spatial_scale=spatial_scale,
        logit_scale=logit_scale,
        logit_bias=logit_bias,
        aggregation=aggregation,
    )


def logits_of_prompts(
    region_features: Tensor,
    texts: Mapping[str, Tensor],
    *,
    spatial_scale: float,
    logit_scale: float,
    logit_bias: float | Tensor = 0.0,
    aggregation: str = "softmax",
    aggregate: Callable[..., Tensor] = aggregated_in_pieces,
) -> DualLogits:
    """`dual_logits` of prompts by name, (M, D) each, the leading one first; only "positive" and "negative" give logits.

    Where operations are recorded for any number of images, `aggregate` is `aggregation.aggregated_similarities`.

    Raises:
        ValueError: when no prompt gives a logit, or for an unknown aggregation.
    """
    if not texts.keys() & {"positive", "negative"}:
        raise ValueError("dual_logits needs positive_text, negative_text or both; got neither")
    stacked = torch.stack(list(texts.values()))
    if aggregation == "average":
        # Linear in the regions: their mean is one region that stands for all.
        region_features = region_features.mean(dim=1, keepdim=True, dtype=stacked.dtype)
    found = aggregate(region_features, stacked, spatial_scale=spatial_scale, aggregation=aggregation)
    sums = dict(zip(texts, (logit_scale * found).unbind(), strict=True))
    unused = torch.zeros_like(found[0])
    return DualLogits(sums.get("positive", unused) + logit_bias, sums.get("negative", unused))


def probabilities(logits: DualLogits) -> Tensor:
    """Probability that each label is present (Eq. 3): softmax over (negative, positive), (B, M)."""
    return torch.sigmoid(logits.positive - logits.negative)
