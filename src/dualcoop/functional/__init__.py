"""The method's arithmetic as pure tensor functions, without state and without models."""

from dualcoop.functional.aggregation import (
    AGGREGATIONS,
    DualLogits,
    aggregate_regions,
    dual_logits,
    probabilities,
    region_weights,
)
from dualcoop.functional.losses import asymmetric_loss

__all__ = [
    "AGGREGATIONS",
    "DualLogits",
    "aggregate_regions",
    "asymmetric_loss",
    "dual_logits",
    "probabilities",
    "region_weights",
]
