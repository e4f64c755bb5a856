"""Checks on scores, labels and decisions before anything is counted."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dualcoop.errors import DataError, Only

FloatArray = NDArray[np.floating]
LabelArray = NDArray[np.int8]
MEANINGS = "+1 for present, -1 for absent and 0 for unknown"


def checked_labels(labels: ArrayLike) -> LabelArray:
    """Labels as an int8 matrix (N, M) of +1 present, -1 absent, 0 unknown.

    Raises:
        DataError: for another number of dimensions, other values, or booleans (whose False may mean absent or unknown).
    """
    matrix = np.asarray(labels)
    if matrix.ndim != 2:
        raise DataError(f"labels have shape {matrix.shape}, expected (images, classes)")
    if matrix.dtype == np.bool_:
        raise DataError("labels are booleans, and False may mean absent or unknown", remedy=f"give {MEANINGS}")
    expected = (matrix == 1) | (matrix == -1) | (matrix == 0)
    if not expected.all():
        row, column = np.argwhere(~expected)[0]
        raise DataError(f"label {matrix[row, column]!s} in row {row}, column {column}; expected {MEANINGS}")
    return matrix.astype(np.int8, copy=False)


def checked_scores(scores: ArrayLike, labels: LabelArray) -> FloatArray:
    """Scores as a matrix of the labels' shape (N, M), without NaN; float32 stays, all else becomes float64.

    Raises:
        DataError: for another shape or when a score is NaN.
    """
    matrix = np.asarray(scores)
    if matrix.dtype not in (np.float32, np.float64):
        matrix = matrix.astype(np.float64)
    if matrix.shape != labels.shape:
        raise DataError(f"scores have shape {matrix.shape}, expected that of the labels, {labels.shape}")
    undefined = np.isnan(matrix)
    if undefined.any():
        row, column = np.argwhere(undefined)[0]
        raise DataError(f"score in row {row}, column {column} is NaN; every image and class needs a number")
    return matrix


def checked_decisions(decisions: ArrayLike, labels: LabelArray) -> NDArray[np.bool_]:
    """Decisions as a boolean matrix of the labels' shape (N, M).

    Raises:
        DataError: for another shape or dtype; scores belong into `decide` first.
    """
    matrix = np.asarray(decisions)
    if matrix.dtype != np.bool_:
        what = f"decisions are {matrix.dtype}, expected booleans"
        raise DataError(what, remedy=Only("python", "decide() makes them from scores"))
    if matrix.shape != labels.shape:
        raise DataError(f"decisions have shape {matrix.shape}, expected that of the labels, {labels.shape}")
    return matrix
