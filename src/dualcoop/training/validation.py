"""What the validation images say: the choice of an epoch, thresholds, and a report."""

from collections.abc import Callable
from typing import Any

import torch

from dualcoop.data.labels import LabelledImages
from dualcoop.data.problems import Problem
from dualcoop.errors import DataError
from dualcoop.evaluation import EvaluationReport, class_thresholds, mean_average_precision
from dualcoop.features.encoding import RegionFeatures
from dualcoop.features.scoring import judge, region_logits, region_scores
from dualcoop.functional import probabilities
from dualcoop.network import DualCoOpNetwork
from dualcoop.training.arguments import TrainingArguments
from dualcoop.training.steps import known_loss

FITTED_RULE = "per-class thresholds fitted to these same images"


class Validation:
    """Validation images of one run.

    Args:
        model: in training.
        arguments: of the run.
        data: the images.
        encode: gives their features with the image tower as it is now.
        features: of these images, where they are known.

    Attributes:
        problems: images that cannot be read.

    Raises:
        DataError: when epochs are chosen by images of which too few can be read.
    """

    def __init__(
        self,
        model: DualCoOpNetwork,
        arguments: TrainingArguments,
        data: LabelledImages,
        encode: Callable[[LabelledImages], RegionFeatures],
        features: RegionFeatures | None = None,
    ) -> None:
        self._model = model
        self._arguments = arguments
        self._data = data
        self._encode = encode
        self._features = encode(data) if features is None else features
        self.problems: tuple[Problem, ...] = self._features.problems
        if arguments.select == "best" and not (data.labels[self._features.kept] > 0).any():
            raise DataError(
                "select is 'best', but no label is known to be present in the validation images that can be "
                f"read. {self.problems[0]} Mend such images, or use select='last'."
            )

    def row(self, *, encode_again: bool = False) -> dict[str, Any]:
        """Entries for the history: valid_loss, the mean over the known labels, and valid_map in percent.

        Args:
            encode_again: the image tower has changed.
        """
        if encode_again:
            self._features = self._encode(self._data)
        labels = self._data.labels[self._features.kept]
        logits = region_logits(self._model, self._features)
        loss = float(known_loss(self._arguments, logits, torch.from_numpy(labels)))
        if self._arguments.reduction == "published":
            loss /= max(int((labels != 0).sum()), 1)
        return {
            "valid_loss": loss,
            "valid_map": mean_average_precision(probabilities(logits).numpy(), labels),
        }

    def finish(self, *, encode_again: bool = False) -> EvaluationReport:
        """Fit the model's thresholds where that is asked for and possible, and report on the model.

        Args:
            encode_again: the image tower has changed.
        """
        if encode_again:
            self._features = self._encode(self._data)
        scores = region_scores(self._model, self._features)
        labels = self._data.labels[self._features.kept]
        fitted = self._arguments.fit_thresholds and bool((labels > 0).any())
        if fitted:
            self._model.set_thresholds(class_thresholds(scores, labels))
        rule = FITTED_RULE if fitted else None
        return judge(self._model, scores, self._data, self._features, decision_rule=rule)
