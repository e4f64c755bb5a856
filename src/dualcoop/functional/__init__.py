"""The method's arithmetic as pure tensor functions, without state and without models."""

from dualcoop.functional.aggregation import AGGREGATIONS, aggregate_regions, region_weights
from dualcoop.functional.logits import DualLogits, dual_logits, probabilities
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
