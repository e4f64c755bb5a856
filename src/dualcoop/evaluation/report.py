"""All metrics of one evaluation, each with the name of its protocol."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from dualcoop.counting import counted
from dualcoop.errors import DataError
from dualcoop.evaluation.decisions import DecisionMetrics, decide, decision_metrics, top_k_metrics
from dualcoop.evaluation.inputs import LabelArray, checked_labels, checked_scores
from dualcoop.evaluation.ranking import average_precision, mean_over_classes

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Metric:
    """One number.

    Attributes:
        key: short and unique, for code: "mAP", "CF1", "F1@3".
        name: the usual name, which several protocols may share.
        protocol: what exactly was computed.
        value: percent; NaN when undefined.
    """

    key: str
    name: str
    protocol: str
    value: float

    @property
    def title(self) -> str:
        """Name and protocol, as printed: "CF1 (mean of per-class F1, threshold 0.5)"."""
        return f"{self.name} ({self.protocol})"


@dataclass(frozen=True)
class ClassMetrics:
    """One row of the per-class table; percentages, `average_precision` is NaN without a known positive."""

    name: str
    average_precision: float
    precision: float
    recall: float
    f1: float
    known_positives: int
    known_negatives: int


@dataclass(frozen=True)
class EvaluationReport:
    """Metrics over all classes, the per-class table, and what a reader must know to trust them.

    Attributes:
        metrics: in the order in which they are printed; `report["mAP"]` gives one value by its key.
        per_class: one row per class, in the order of the classes.
        images: number of images.
        notes: sentences on what makes a figure unusual, such as classes without a known positive.
    """

    metrics: tuple[Metric, ...]
    per_class: tuple[ClassMetrics, ...]
    images: int
    notes: tuple[str, ...]

    def __getitem__(self, key: str) -> float:
        """Value in percent of the metric with this key; KeyError names the keys there are."""
        for metric in self.metrics:
            if metric.key == key:
                return metric.value
        raise KeyError(f"{key}; this report has {', '.join(metric.key for metric in self.metrics)}")

    @property
    def known_positives(self) -> int:
        """Number of (image, class) pairs known to be present."""
        return sum(row.known_positives for row in self.per_class)

    @property
    def known_negatives(self) -> int:
        """Number of (image, class) pairs known to be absent."""
        return sum(row.known_negatives for row in self.per_class)

    def to_rows(self) -> list[dict[str, Any]]:
        """One dictionary per metric, for tables and CSV files."""
        return [asdict(metric) for metric in self.metrics]

    def to_dict(self) -> dict[str, Any]:
        """Everything in the report, ready for JSON: undefined values are None."""
        return {
            "images": self.images,
            "classes": len(self.per_class),
            "known_positives": self.known_positives,
            "known_negatives": self.known_negatives,
            "metrics": {
                each.key: {"name": each.name, "protocol": each.protocol, "value": _none_if_nan(each.value)}
                for each in self.metrics
            },
            "per_class": [{key: _none_if_nan(value) for key, value in asdict(row).items()} for row in self.per_class],
            "notes": list(self.notes),
        }

    def per_class_frame(self) -> pd.DataFrame:
        """Per-class table, one row per class in the classes' order; percentages and counts."""
        import pandas as pd

        titles = ["class", "AP", "precision", "recall", "F1", "known positives", "known negatives"]
        return pd.DataFrame([astuple(row) for row in self.per_class], columns=titles)

    def write_per_class_csv(self, path: str | Path) -> None:
        """Write the per-class table with two decimals; an undefined AP is left empty."""
        self.per_class_frame().to_csv(path, index=False, float_format="%.2f")

    def __str__(self) -> str:
        width = max(len(metric.title) for metric in self.metrics)
        lines = [
            f"{counted(self.images, 'image')}, {counted(len(self.per_class), 'class')}, "
            f"{counted(self.known_positives, 'label')} known present, {self.known_negatives:,} known absent; percent",
            *(f"  {metric.title:<{width}}  {_number(metric.value):>6}" for metric in self.metrics),
            *(f"Note: {note}" for note in self.notes),
        ]
        return "\n".join(lines)


def evaluate(
    scores: ArrayLike,
    labels: ArrayLike,
    classes: Sequence[str],
    *,
    decisions: ArrayLike | None = None,
    threshold: ArrayLike = 0.5,
    top_k: Sequence[int] = (3, 5),
    decision_rule: str | None = None,
) -> EvaluationReport:
    """Judge scores, and the decisions made from them, against labels.

    Args:
        scores: (N, M), larger means more likely present.
        labels: (N, M), +1 present, -1 absent, 0 unknown; unknown labels count nowhere.
        classes: M names.
        decisions: (N, M) bool; by default a score above its `threshold` is decided present.
        threshold: one number or one per class (M,); not used when `decisions` are given.
        top_k: values of k for precision, recall and F1 at k; those above M are left out.
        decision_rule: how the decisions came about, printed with every metric that depends on them.

    Raises:
        DataError: for other label values, NaN scores, no images, or shapes that do not fit together.
        ConfigError: for a k below 1.
    """
    label_matrix = checked_labels(labels)
    score_matrix = checked_scores(scores, label_matrix)
    if len(classes) != label_matrix.shape[1]:
        raise DataError(f"{len(classes)} class names for labels of {label_matrix.shape[1]} classes")
    if not label_matrix.size:
        raise DataError(f"labels have shape {label_matrix.shape}; there is nothing to evaluate")
    class_precision = average_precision(score_matrix, label_matrix)
    decided = decision_metrics(decide(score_matrix, threshold) if decisions is None else decisions, label_matrix)
    metrics = _metrics(class_precision, decided, decision_rule or _rule_name(decisions, threshold))
    for k in top_k:
        if k <= len(classes):
            at_k = top_k_metrics(score_matrix, label_matrix, k)
            protocol = f"micro over the {k} best classes of every image"
            for name, value in (("P", at_k.precision), ("R", at_k.recall), ("F1", at_k.f1)):
                metrics.append(Metric(f"{name}@{k}", f"{name}@{k}", protocol, value))
    percentages = np.stack([class_precision, decided.precision, decided.recall, decided.f1], axis=1).tolist()
    known = np.stack([(label_matrix == 1).sum(axis=0), (label_matrix == -1).sum(axis=0)], axis=1).tolist()
    rows = zip(map(str, classes), percentages, known, strict=True)
    per_class = tuple(ClassMetrics(name, *values, *counts) for name, values, counts in rows)
    return EvaluationReport(tuple(metrics), per_class, len(label_matrix), _notes(label_matrix))


def _rule_name(decisions: ArrayLike | None, threshold: ArrayLike) -> str:
    if decisions is not None:
        return "decisions as given"
    return "per-class thresholds" if np.ndim(threshold) else f"threshold {float(np.asarray(threshold)):g}"


def _metrics(class_precision: np.ndarray, decided: DecisionMetrics, rule: str) -> list[Metric]:
    with_zero = mean_over_classes(class_precision, without_positives="zero")
    rows = (
        ("mAP", "mAP", "classes without positives skipped", mean_over_classes(class_precision)),
        ("mAP_zero", "mAP", "classes without positives count 0, as published", with_zero),
        ("CP", "CP", f"mean of per-class precision, {rule}", decided.class_precision),
        ("CR", "CR", f"mean of per-class recall, {rule}", decided.class_recall),
        ("CF1", "CF1", f"mean of per-class F1, {rule}", decided.class_f1),
        ("CF1_of_means", "CF1", f"F1 of CP and CR, {rule}", decided.class_f1_of_means),
        ("OP", "OP", f"micro, {rule}", decided.overall_precision),
        ("OR", "OR", f"micro, {rule}", decided.overall_recall),
        ("OF1", "OF1", f"micro, {rule}", decided.overall_f1),
    )
    return [Metric(*row) for row in rows]


def _notes(labels: LabelArray) -> tuple[str, ...]:
    notes = []
    without = int((~(labels == 1).any(axis=0)).sum())
    if without:
        where = f"{without} of {labels.shape[1]} classes"
        notes.append(f"No known positive in {where}: counted as 0 in CP, CR and CF1, left out of the first mAP.")
    if not (labels == -1).any():
        notes.append("No label is known to be absent: mAP and precision are 100 or 0 and say nothing.")
    empty = int((~(labels == 1).any(axis=1)).sum())
    if empty:
        where = f"{empty} of {len(labels)} images"
        notes.append(f"No known positive in {where}: this lowers precision at k, as in the published protocol.")
    unknown = float((labels == 0).mean())
    if unknown:
        notes.append(f"{100 * unknown:.1f} % of the labels are unknown and left out of every metric.")
    return tuple(notes)


def _none_if_nan(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"
