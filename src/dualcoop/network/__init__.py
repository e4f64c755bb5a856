"""What turns regions of a frozen backbone into scores, as modules of tensors: any classifier, and the dual prompts."""

from dualcoop.network.dual_prompts import MODEL_AGGREGATIONS, DualCoOpNetwork
from dualcoop.network.region_classifier import DEFAULT_THRESHOLD, POOLED, REGIONS, RegionClassifier

__all__ = [
    "DEFAULT_THRESHOLD",
    "MODEL_AGGREGATIONS",
    "POOLED",
    "REGIONS",
    "DualCoOpNetwork",
    "RegionClassifier",
]
