"""Losses over the known labels only, by name: the asymmetric loss is Eq. 7 and 8 of the paper."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from dualcoop.functional.logits import DualLogits, probabilities

LOG_FLOOR = 1e-6
REDUCTIONS = ("sum", "mean")


class KnownLoss(NamedTuple):
    """Loss of the known (image, class) pairs of a batch.

    Attributes:
        total: scalar, their sum; 0 (with a graph) when there are none.
        known: scalar, their number.
    """

    total: Tensor
    known: Tensor

    def mean(self) -> Tensor:
        """Scalar, the loss of a known pair; 0 when there are none."""
        return self.total / self.known.clamp(min=1)


Loss: TypeAlias = Callable[[DualLogits, Tensor], KnownLoss]
"""Called with logits and labels (B, M) on one device; labels are +1 present, -1 absent, 0 unknown, any real dtype."""


def asymmetric(*, gamma_positive: float = 1.0, gamma_negative: float = 2.0, margin: float = 0.05) -> Loss:
    """The asymmetric loss (ASL) with these constants; see `asymmetric_loss`."""

    def loss(logits: DualLogits, labels: Tensor) -> KnownLoss:
        if labels.shape != logits.positive.shape:
            raise ValueError(f"labels are {tuple(labels.shape)}, logits are {tuple(logits.positive.shape)}")
        present = labels > 0
        absent = labels < 0
        probability = probabilities(logits)
        absence = (1 - probability + margin).clamp(max=1)
        with torch.no_grad():
            weight_present = (1 - probability) ** gamma_positive
            weight_absent = (1 - absence) ** gamma_negative
        loss_present = -weight_present * probability.clamp(min=LOG_FLOOR).log()
        loss_absent = -weight_absent * absence.clamp(min=LOG_FLOOR).log()
        zero = torch.zeros((), dtype=probability.dtype, device=probability.device)
        total = torch.where(present, loss_present, zero).sum() + torch.where(absent, loss_absent, zero).sum()
        return KnownLoss(total, present.sum() + absent.sum())

    return loss


LOSSES: Mapping[str, Callable[..., Loss]] = {"asymmetric": asymmetric}
"""What makes each loss; its keywords are options of a training run."""


def asymmetric_loss(
    logits: DualLogits,
    labels: Tensor,
    *,
    gamma_positive: float = 1.0,
    gamma_negative: float = 2.0,
    margin: float = 0.05,
    reduction: str = "mean",
) -> Tensor:
    """Asymmetric loss (ASL) over the known (image, class) pairs.

    The focal weights carry no gradient and the logarithms' arguments are clamped at 1e-6, as in the published
    code. `reduction="sum"` is the published scale, which grows with the batch and with the share of known
    labels and needs a weight of its own for each; `reduction="mean"` divides by the number of known pairs,
    so one setting serves every proportion and batch size.

    Args:
        logits: two (B, M) tensors.
        labels: (B, M), +1 present, -1 absent, 0 unknown; any real dtype.
        gamma_positive: focusing exponent of the present labels.
        gamma_negative: focusing exponent of the absent labels.
        margin: c of Eq. 8; absent labels with a probability under it cost nothing.
        reduction: "sum" or "mean".

    Returns:
        Scalar, 0 (with a graph) when no label of the batch is known.

    Raises:
        ValueError: for another reduction, or when the shapes of labels and logits differ.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction is {reduction!r}, expected one of {', '.join(REDUCTIONS)}")
    loss = asymmetric(gamma_positive=gamma_positive, gamma_negative=gamma_negative, margin=margin)(logits, labels)
    return loss.total if reduction == "sum" else loss.mean()
