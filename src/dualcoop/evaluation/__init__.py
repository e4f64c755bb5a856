"""Metrics for multi-label recognition; unknown labels (0) never count and every number is a percentage.

Needs numpy and scikit-learn only: scores from any model can be judged here.
"""

from dualcoop.evaluation.decisions import DecisionMetrics, TopKMetrics, decide, decision_metrics, top_k_metrics
from dualcoop.evaluation.ranking import average_precision, mean_average_precision
from dualcoop.evaluation.report import ClassMetrics, EvaluationReport, Metric, evaluate
from dualcoop.evaluation.thresholds import class_thresholds, global_threshold

__all__ = [
    "ClassMetrics",
    "DecisionMetrics",
    "EvaluationReport",
    "Metric",
    "TopKMetrics",
    "average_precision",
    "class_thresholds",
    "decide",
    "decision_metrics",
    "evaluate",
    "global_threshold",
    "mean_average_precision",
    "top_k_metrics",
]
