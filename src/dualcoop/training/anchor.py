"""A pull of the text features towards their start, for runs with few known labels."""

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from dualcoop.data.labels import LabelledImages
from dualcoop.network import DualCoOpNetwork
from dualcoop.prompts import TextFeatures
from dualcoop.training.arguments import NORMALISED_LOSS_WEIGHT

PREFIX = "anchor."


class Anchor:
    """Penalty strength / n * (1 - cos(T, T0)), mean over classes and summed over both prompts.

    n is the number of known labels per class, so that the start counts as much as `strength` labels: the
    penalty matters at 10 % of the labels and fades at 100 %. This is what the mean loss over the known labels
    turns a fixed prior into.
    """

    def __init__(self, model: DualCoOpNetwork, data: LabelledImages, strength: float) -> None:
        self._start: list[Tensor | None] = []
        self._weight = 0.0
        if strength:
            per_class = max(float((data.labels != 0).sum()) / len(data.classes), 1.0)
            self._weight = NORMALISED_LOSS_WEIGHT * strength / per_class
            with torch.no_grad():
                self._start = [None if each is None else each.clone() for each in model.text_features()]

    def penalty(self, text: TextFeatures, class_subset: Tensor | None) -> Tensor | float:
        """Scalar, differentiable in the text features (K, D); 0 without an anchor."""
        if not self._weight:
            return 0.0
        terms = [
            (1 - cosine_similarity(feature, start if class_subset is None else start[class_subset])).mean()
            for feature, start in zip(text, self._start, strict=True)
            if feature is not None and start is not None
        ]
        return self._weight * torch.stack(terms).sum()

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint."""
        return {f"{PREFIX}{i}": value for i, value in enumerate(self._start) if value is not None}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """The start as it was when the run began."""
        for i, value in enumerate(self._start):
            if value is not None:
                self._start[i] = tensors[f"{PREFIX}{i}"].to(value.device)
