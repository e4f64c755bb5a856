"""Precision, recall and F1 over the k best classes of every image: the zero-shot protocol."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dualcoop.errors import ConfigError
from dualcoop.evaluation.decisions import f1_score, share
from dualcoop.evaluation.inputs import checked_labels, checked_scores

IMAGES_PER_CHUNK = 4096


@dataclass(frozen=True)
class TopKMetrics:
    """Micro precision, recall and F1 at `k`, in percent; 0/0 counts as 0."""

    k: int
    precision: float
    recall: float
    f1: float


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
    hits = known = 0
    # Chunks bound the memory of the sort's indices, which are eight times as large as the labels.
    for start in range(0, images, IMAGES_PER_CHUNK):
        chunk = slice(start, start + IMAGES_PER_CHUNK)
        best = np.argsort(-score_matrix[chunk], axis=1, kind="stable")[:, :k]
        best_labels = np.take_along_axis(label_matrix[chunk], best, axis=1)
        hits += int((best_labels == 1).sum())
        known += int((best_labels != 0).sum())
    precision = float(share(hits, known))
    recall = float(share(hits, int((label_matrix == 1).sum())))
    return TopKMetrics(k=k, precision=precision, recall=recall, f1=float(f1_score(precision, recall)))
