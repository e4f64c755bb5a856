"""The method's arithmetic as pure tensor functions, without state and without models."""

from dualcoop.functional.aggregation import AGGREGATIONS, aggregate_regions, aggregated_similarities, region_weights
from dualcoop.functional.logits import DualLogits, dual_logits, logits_of_prompts, probabilities
from dualcoop.functional.losses import asymmetric_loss

__all__ = [
    "AGGREGATIONS",
    "DualLogits",
    "aggregate_regions",
    "aggregated_similarities",
    "asymmetric_loss",
    "dual_logits",
    "logits_of_prompts",
    "probabilities",
    "region_weights",
]
