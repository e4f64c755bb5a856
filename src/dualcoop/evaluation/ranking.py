"""Average precision per class and its mean over classes (mAP)."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dualcoop.errors import ConfigError
from dualcoop.evaluation.inputs import checked_labels, checked_scores

WITHOUT_POSITIVES = ("skip", "zero")


def average_precision(scores: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """Non-interpolated average precision per class: mean over its positives of the precision at their rank.

    Images with equal scores share one rank, the last of their group, so that the order of the images does not matter
    and a constant score gets the share of positives. scikit-learn does the same and is used here. torchmetrics agrees
    on scores in [0, 1]; it passes others through a sigmoid, which can tie them. The published code breaks ties by the
    position of the image, and so differs where, and only where, scores are equal.

    Args:
        scores: (N, M), larger means more likely present; any real scale.
        labels: (N, M), +1 present, -1 absent, 0 unknown. A class is ranked over its known images only.

    Returns:
        (M,) float64 in percent; NaN for classes without a known positive.

    Raises:
        DataError: for other label values, shapes that differ, or NaN scores.
    """
    # Not at the top: whoever tags images asks for thresholds, not for metrics, and this import takes a second.
    from sklearn.metrics import average_precision_score

    label_matrix = checked_labels(labels)
    score_matrix = checked_scores(scores, label_matrix)
    precision = np.full(label_matrix.shape[1], np.nan)
    for index in np.flatnonzero((label_matrix == 1).any(axis=0)):
        known = label_matrix[:, index] != 0
        fraction = average_precision_score(label_matrix[known, index], score_matrix[known, index])
        precision[index] = 100.0 * fraction
    return precision


def mean_over_classes(class_average_precision: NDArray[np.float64], *, without_positives: str = "skip") -> float:
    """Mean of per-class values in which NaN stands for a class without known positives.

    Args:
        class_average_precision: (M,), as `average_precision` returns it.
        without_positives: "skip" leaves such classes out, "zero" counts them as 0 as the published code does.

    Returns:
        Percent; NaN with "skip" when no class has a known positive, or without classes.

    Raises:
        ConfigError: for another convention.
    """
    if without_positives not in WITHOUT_POSITIVES:
        what = f"is {without_positives!r}, expected one of {', '.join(WITHOUT_POSITIVES)}"
        raise ConfigError(what, option="without_positives")
    defined = ~np.isnan(class_average_precision)
    count = int(defined.sum()) if without_positives == "skip" else len(class_average_precision)
    return float(class_average_precision[defined].sum() / count) if count else float("nan")


def mean_average_precision(scores: ArrayLike, labels: ArrayLike, *, without_positives: str = "skip") -> float:
    """Mean over classes of `average_precision`, in percent.

    scikit-learn's macro average counts classes without positives as 0 ("zero" here, with a warning there);
    torchmetrics' macro average leaves them out ("skip").

    Args:
        scores: (N, M), larger means more likely present.
        labels: (N, M), +1 present, -1 absent, 0 unknown.
        without_positives: "skip" or "zero", see `mean_over_classes`.

    Raises:
        DataError: see `average_precision`.
        ConfigError: for another convention.
    """
    return mean_over_classes(average_precision(scores, labels), without_positives=without_positives)
