"""One logistic regression per class on image features, trained on the known labels only."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from dualcoop.errors import ConfigError, DataError
from dualcoop.evaluation.inputs import checked_labels
from dualcoop.evaluation.ranking import mean_average_precision

DEFAULT_C_GRID = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
# Points of validation mAP between neighbouring values of C that are not worth a warning.
FLAT = 0.1


class LinearProbe(BaseEstimator):
    """Linear classifier per class; one regularisation C for all classes, chosen by the validation mAP.

    Each class is a scikit-learn logistic regression (L2 penalty, lbfgs, intercept not penalised) on the
    training images whose label for this class is known. The values of C are fitted in rising order, each from
    the solution before, which takes a fraction of the iterations. A class of which only one sign is known (or
    none) cannot be fitted and gets the constant score of its prior: (known positives + share) / (known labels
    + 1), where share is the share of positives among all known labels.

    Features are centred with the training mean, which changes no solution but speeds up the solver, and kept
    in float32, which halves the time.

    Args:
        C_grid: values of C to try, as in scikit-learn: smaller is more regularised.
        standardise: divide every feature by its standard deviation over the training images. Without it the
            useful C depends on the scale of the features: it is about their dimension times larger for
            L2-normalised ones.
        refit: train once more with the chosen C on training and validation images together. Otherwise the
            validation images choose C and are never trained on.
        tol: largest gradient at which lbfgs stops.
        max_iter: iterations per class and value of C.
        n_jobs: processes of joblib that share the classes; None is one.

    Attributes:
        C_: the chosen C.
        validation_map_: validation mAP in percent (classes without positives skipped) of every C of the grid.
        coef_: (M, D) float32, for features as they were given.
        intercept_: (M,) float32.
        constant_: (M,) bool, classes with a constant score.
        n_iter_: (M, number of C values) int, iterations of lbfgs, 0 for constant classes.
        n_features_in_: D.
    """

    def __init__(
        self,
        C_grid: Sequence[float] = DEFAULT_C_GRID,  # noqa: N803 (scikit-learn's name)
        *,
        standardise: bool = True,
        refit: bool = False,
        tol: float = 1e-4,
        max_iter: int = 1000,
        n_jobs: int | None = None,
    ):
        self.C_grid = C_grid
        self.standardise = standardise
        self.refit = refit
        self.tol = tol
        self.max_iter = max_iter
        self.n_jobs = n_jobs

    def fit(
        self, features: ArrayLike, labels: ArrayLike, valid_features: ArrayLike, valid_labels: ArrayLike
    ) -> LinearProbe:
        """Fit every class for every C and keep the C with the best validation mAP, the smallest of equals.

        Args:
            features: (N, D) real.
            labels: (N, M), +1 present, -1 absent, 0 unknown.
            valid_features: (V, D) real.
            valid_labels: (V, M).

        Returns:
            self.

        Raises:
            ConfigError: for an empty grid or a C that is not positive.
            DataError: for shapes that do not fit, other label values, features that are not finite, training
                data without a known label, or validation data without a known positive.
        """
        grid = sorted(float(value) for value in self.C_grid)
        if not grid or not grid[0] > 0:
            raise ConfigError(f"C_grid is {tuple(self.C_grid)}, expected one or more positive numbers")
        train = _checked_features(features, "features")
        valid = _checked_features(valid_features, "valid_features", dimension=train.shape[1])
        train_labels, held_out_labels = checked_labels(labels), checked_labels(valid_labels)
        for part, x, y in (("training", train, train_labels), ("validation", valid, held_out_labels)):
            if len(x) != len(y):
                raise DataError(f"{part} data has {len(x)} rows of features and {len(y)} rows of labels")
        if train_labels.shape[1] != held_out_labels.shape[1]:
            raise DataError(
                f"labels have {train_labels.shape[1]} classes, valid_labels have {held_out_labels.shape[1]}"
            )
        if not train_labels.any():
            raise DataError("no label of the training data is known, so there is nothing to learn from")
        if not (held_out_labels == 1).any():
            raise DataError("no label of the validation data is known to be present, so C cannot be chosen")

        coefficients, intercepts, iterations = self._fit_paths(train, train_labels, grid)
        maps = [
            mean_average_precision(valid @ coefficient.T + intercept, held_out_labels)
            for coefficient, intercept in zip(coefficients, intercepts, strict=True)
        ]
        best = int(np.argmax(maps))
        inward = {0: 1, len(grid) - 1: len(grid) - 2}.get(best)
        if len(grid) > 1 and inward is not None and maps[best] - maps[inward] > FLAT:
            warnings.warn(
                f"the best C, {grid[best]:g}, is at the edge of the grid {tuple(grid)}; try a wider one",
                stacklevel=2,
            )
        self.C_ = grid[best]
        self.validation_map_ = dict(zip(grid, maps, strict=True))
        self.n_iter_ = iterations
        if self.refit:
            train = np.concatenate([train, valid])
            train_labels = np.concatenate([train_labels, held_out_labels])
            coefficients, intercepts, _ = self._fit_paths(train, train_labels, [self.C_])
            best = 0
        self.coef_, self.intercept_ = coefficients[best], intercepts[best]
        self.constant_ = ~_has_both_signs(train_labels)
        self.n_features_in_ = train.shape[1]
        return self

    def decision_function(self, features: ArrayLike) -> NDArray[np.float32]:
        """Log odds that each label is present: (N, D) to (N, M).

        Raises:
            NotFittedError: before `fit`.
            DataError: for another number of features, or features that are not finite.
        """
        check_is_fitted(self, msg="this LinearProbe is not fitted yet; call fit first")
        matrix = _checked_features(features, "features", dimension=self.n_features_in_)
        return np.asarray(matrix @ self.coef_.T + self.intercept_, dtype=np.float32)

    def predict_proba(self, features: ArrayLike) -> NDArray[np.float32]:
        """Probability that each label is present: (N, D) to (N, M); errors as `decision_function`."""
        # exp(-log(1 + exp(-x))): the sigmoid without overflow at either end.
        return np.asarray(np.exp(-np.logaddexp(0, -self.decision_function(features))), dtype=np.float32)

    def _fit_paths(
        self, features: NDArray[np.float32], labels: NDArray[np.int8], grid: list[float]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
        """Solutions of every class along the grid, for raw features: (C, M, D), (C, M), iterations (M, C)."""
        mean = features.mean(axis=0, dtype=np.float64).astype(np.float32)
        deviation = features.std(axis=0, dtype=np.float64).astype(np.float32)
        scale = np.where(self.standardise & (deviation > 0), deviation, np.float32(1))
        scaled = (features - mean) / scale
        classes, dimension = labels.shape[1], features.shape[1]
        coefficients = np.zeros((len(grid), classes, dimension), dtype=np.float32)
        # Kept away from 0 and 1.
        positives, known = (labels == 1).sum(axis=0), (labels != 0).sum(axis=0)
        priors = (positives + np.clip(positives.sum() / known.sum(), 1e-6, 1 - 1e-6)) / (known + 1)
        intercepts = np.tile(np.log(priors / (1 - priors)).astype(np.float32), (len(grid), 1))
        iterations = np.zeros((classes, len(grid)), dtype=np.int64)
        varied = np.flatnonzero(_has_both_signs(labels))
        paths = Parallel(n_jobs=self.n_jobs)(
            delayed(_fit_path)(scaled, labels[:, index], grid, self.tol, self.max_iter) for index in varied
        )
        for index, (coefficient, intercept, steps) in zip(varied, paths, strict=True):
            coefficients[:, index], intercepts[:, index], iterations[index] = coefficient, intercept, steps
        coefficients /= scale
        return coefficients, intercepts - coefficients @ mean, iterations


def _fit_path(
    features: NDArray[np.float32], labels: NDArray[np.int8], grid: list[float], tol: float, max_iter: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """One class along the grid: coefficients (C, D), intercepts (C,), iterations (C,)."""
    known = labels != 0
    # When all labels are known the features are shared by all classes and need no copy.
    known_features = features if known.all() else features[known]
    present = labels[known] == 1
    classifier = LogisticRegression(solver="lbfgs", tol=tol, max_iter=max_iter, warm_start=True)
    solutions = []
    for value in grid:
        classifier.set_params(C=value).fit(known_features, present)
        solutions.append((classifier.coef_[0].copy(), classifier.intercept_[0], classifier.n_iter_[0]))
    coefficients, intercepts, iterations = zip(*solutions, strict=True)
    return np.stack(coefficients), np.array(intercepts, dtype=np.float32), np.array(iterations)


def _has_both_signs(labels: NDArray[np.int8]) -> NDArray[np.bool_]:
    return np.asarray((labels == 1).any(axis=0) & (labels == -1).any(axis=0))


def _checked_features(features: ArrayLike, name: str, dimension: int | None = None) -> NDArray[np.float32]:
    matrix = np.asarray(features, dtype=np.float32)
    expected = "(images, dimension)" if dimension is None else f"(images, {dimension})"
    if matrix.ndim != 2 or (dimension is not None and matrix.shape[1] != dimension):
        raise DataError(f"{name} have shape {matrix.shape}, expected {expected}")
    if not np.isfinite(matrix).all():
        raise DataError(f"{name} hold NaN or infinity in row {np.argwhere(~np.isfinite(matrix))[0][0]}")
    return matrix
