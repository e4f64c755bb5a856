"""Precision, recall and F1 of yes-or-no decisions: per class (CP, CR, CF1), overall (OP, OR, OF1), and at k.

At k, the k best classes of every image are decided present: the zero-shot protocol.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dualcoop.errors import ConfigError, DataError
from dualcoop.evaluation.inputs import checked_decisions, checked_labels, checked_scores

IMAGES_PER_CHUNK = 4096


@dataclass(frozen=True)
class DecisionMetrics:
    """Precision, recall and F1 in percent; arrays have one entry per class (M,), and 0/0 counts as 0.

    Attributes:
        precision: of each class, 0 where nothing was decided present.
        recall: of each class, 0 where nothing is known to be present.
        f1: of each class, 0 where both are 0.
        class_precision: CP, mean of `precision` over all classes.
        class_recall: CR, mean of `recall` over all classes.
        class_f1: CF1 of the published code, mean of `f1` over all classes.
        class_f1_of_means: CF1 of most other papers, the F1 of (CP, CR).
        overall_precision: OP, over all known (image, class) pairs together.
        overall_recall: OR.
        overall_f1: OF1, the F1 of (OP, OR).
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    class_precision: float
    class_recall: float
    class_f1: float
    class_f1_of_means: float
    overall_precision: float
    overall_recall: float
    overall_f1: float


@dataclass(frozen=True)
class TopKMetrics:
    """Micro precision, recall and F1 at `k`, in percent; 0/0 counts as 0."""

    k: int
    precision: float
    recall: float
    f1: float


def decide(scores: ArrayLike, thresholds: ArrayLike = 0.5) -> NDArray[np.bool_]:
    """Decide a label present where its score exceeds the threshold (equal is not enough, as published).

    Args:
        scores: (N, M) or (M,).
        thresholds: one number for all classes, or (M,).

    Returns:
        Booleans of the scores' shape.

    Raises:
        DataError: when the number of thresholds is neither 1 nor the number of classes.
    """
    score_matrix, threshold_vector = np.asarray(scores), np.asarray(thresholds)
    if threshold_vector.ndim and threshold_vector.shape != score_matrix.shape[-1:]:
        raise DataError(
            f"thresholds have shape {threshold_vector.shape}, "
            f"expected one number or one for each of the {score_matrix.shape[-1]} classes"
        )
    return np.asarray(score_matrix > threshold_vector)


def share(part: ArrayLike, whole: ArrayLike) -> NDArray[np.float64]:
    """`part / whole` in percent, elementwise, where 0/0 is 0."""
    numerator, denominator = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    return 100.0 * np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def f1_score(precision: ArrayLike, recall: ArrayLike) -> NDArray[np.float64]:
    """Harmonic mean of precision and recall, both in percent, where 0/0 is 0."""
    p, r = np.asarray(precision, dtype=np.float64), np.asarray(recall, dtype=np.float64)
    return share(2.0 * p * r, p + r) / 100.0


def decision_metrics(decisions: ArrayLike, labels: ArrayLike) -> DecisionMetrics:
    """Precision, recall and F1 of decisions, per class and overall.

    Every 0/0 counts as 0, as in the published code: a class that is never decided present has precision 0, a
    class that is never known to be present has recall 0, and both stay in the means over classes.

    Args:
        decisions: (N, M) bool, True where the label was decided present.
        labels: (N, M), +1 present, -1 absent, 0 unknown; pairs with unknown labels count nowhere.

    Raises:
        DataError: for other label values or dtypes, or shapes that differ.
    """
    label_matrix = checked_labels(labels)
    decided = checked_decisions(decisions, label_matrix)
    hits = (decided & (label_matrix == 1)).sum(axis=0)
    decided_known = (decided & (label_matrix != 0)).sum(axis=0)
    positives = (label_matrix == 1).sum(axis=0)
    precision, recall = share(hits, decided_known), share(hits, positives)
    f1 = f1_score(precision, recall)
    cp, cr, cf1 = (float(values.mean()) if values.size else 0.0 for values in (precision, recall, f1))
    op, overall_recall = float(share(hits.sum(), decided_known.sum())), float(share(hits.sum(), positives.sum()))
    of_means, of1 = float(f1_score(cp, cr)), float(f1_score(op, overall_recall))
    return DecisionMetrics(precision, recall, f1, cp, cr, cf1, of_means, op, overall_recall, of1)


def top_k_metrics(scores: ArrayLike, labels: ArrayLike, k: int) -> TopKMetrics:
    """Micro precision, recall and F1 when the k classes with the largest scores are present in every image.

    As in the published protocol, hits are counted over all images together, and an image without a positive
    stays in: its k classes lower the precision. (The COCO zero-shot protocol drops such images when it
    chooses the test set, not here.) The k classes are chosen among all classes, as a user sees them; those
    whose label is unknown count neither as right nor as wrong. Of equal scores the first class is taken.

    Args:
        scores: (N, M), comparable between the classes of one image.
        labels: (N, M), +1 present, -1 absent, 0 unknown.
        k: number of classes per image, 1 to M.

    Raises:
        ConfigError: when k is not in 1 to M.
        DataError: for other label values, shapes that differ, or NaN scores.
    """
    label_matrix = checked_labels(labels)
    score_matrix = checked_scores(scores, label_matrix)
    images, classes = label_matrix.shape
    if not 1 <= k <= classes:
        raise ConfigError(f"is {k}, expected 1 to the number of classes, {classes}", option="k")
    chosen = np.zeros(label_matrix.shape, dtype=np.bool_)
    # Chunks bound the memory of the sort's indices, which are eight times as large as the labels.
    for start in range(0, images, IMAGES_PER_CHUNK):
        chunk = slice(start, start + IMAGES_PER_CHUNK)
        best = np.argsort(-score_matrix[chunk], axis=1, kind="stable")[:, :k]
        np.put_along_axis(chosen[chunk], best, True, axis=1)
    micro = decision_metrics(chosen, label_matrix)
    return TopKMetrics(k, micro.overall_precision, micro.overall_recall, micro.overall_f1)
