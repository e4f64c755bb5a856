"""What the validation images say: the choice of an epoch, thresholds, and a report."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from dualcoop.errors import DataError, Option
from dualcoop.evaluation import EvaluationReport, class_thresholds, mean_average_precision
from dualcoop.features.regions import RegionFeatures
from dualcoop.features.scoring import evaluate_scores, region_logits, region_scores
from dualcoop.functional import probabilities
from dualcoop.network import DualCoOpNetwork
from dualcoop.training.arguments import TrainingArguments
from dualcoop.training.steps import run_loss

FITTED_RULE = "per-class thresholds fitted to these same images"


class Validation:
    """Validation images of one run.

    Args:
        model, arguments: of the run.
        features, labels: of n images; labels (n, M).
        encode_again: features and labels with the image tower as it is when this is called; None for a frozen tower.

    Raises:
        DataError: when epochs are chosen by images of which too few can be read.
    """

    def __init__(
        self,
        model: DualCoOpNetwork,
        arguments: TrainingArguments,
        features: RegionFeatures,
        labels: np.ndarray,
        encode_again: Callable[[], tuple[RegionFeatures, np.ndarray]] | None = None,
    ) -> None:
        self._model = model
        self._arguments = arguments
        self._loss = run_loss(arguments)
        self._features = features
        self._labels = labels
        self._encode_again = encode_again
        if arguments.select == "best" and not (labels > 0).any():
            what = "is 'best', but no label is known to be present in the validation images that can be read, unlike "
            first = ("perhaps in those left out, such as ", features.problems[0].message)
            remedy = ("mend such images, or use ", Option("select", "last"))
            raise DataError((what, *first), option="select", remedy=remedy)

    def row(self) -> dict[str, Any]:
        """Entries for the history: valid_loss, the mean over the known labels, and valid_map in percent."""
        if self._encode_again is not None:
            self._features, self._labels = self._encode_again()
        logits = region_logits(self._model, self._features)
        return {
            "valid_loss": float(self._loss(logits, torch.from_numpy(self._labels)).mean()),
            "valid_map": mean_average_precision(probabilities(logits).numpy(), self._labels),
        }

    def finish(self, *, chosen_is_last: bool = True) -> EvaluationReport:
        """Fit the model's thresholds where that is asked for and possible, and report on the model.

        Args:
            chosen_is_last: the model is as it was at the last `row`.
        """
        if self._encode_again is not None and not chosen_is_last:
            self._features, self._labels = self._encode_again()
        scores = region_scores(self._model, self._features)
        fitted = self._arguments.fit_thresholds and bool((self._labels > 0).any())
        if fitted:
            self._model.set_thresholds(class_thresholds(scores, self._labels))
        rule = FITTED_RULE if fitted else None
        return evaluate_scores(self._model, scores, self._labels, self._features, decision_rule=rule)
