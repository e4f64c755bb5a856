"""A pull of the text features towards their start, for runs with few known labels."""

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from dualcoop.network import DualCoOpNetwork
from dualcoop.prompts import TextFeatures

PREFIX = "anchor."


class Anchor:
    """Penalty strength / n * (1 - cos(T, T0)), mean over classes and summed over both prompts.

    n is the number of known labels per class, so that beside the mean loss over the known labels the start
    counts as much as `strength` labels: the penalty matters at 10 % of the labels and fades at 100 %.

    Args:
        model: at its start; T0 are its text features now.
        strength: 0 for no penalty.
    """

    def __init__(self, model: DualCoOpNetwork, strength: float) -> None:
        self._start: list[Tensor | None] = []
        self._strength = strength
        if strength:
            with torch.no_grad():
                self._start = [None if each is None else each.clone() for each in model.text_features()]

    def penalty(self, text: TextFeatures, class_subset: Tensor | None, labels_per_class: float) -> Tensor | float:
        """Scalar in the units of the mean loss, differentiable in the text features; 0 without an anchor.

        Args:
            text: features of the prompts in use, each (M, D) or, with a subset, (K, D).
            class_subset: (K,), int64, the classes that they belong to; None for all M.
            labels_per_class: n, known training labels per class.
        """
        if not self._strength:
            return 0.0
        terms = [
            (1 - cosine_similarity(feature, start if class_subset is None else start[class_subset])).mean()
            for feature, start in zip(text, self._start, strict=True)
            if feature is not None and start is not None
        ]
        return self._strength / max(labels_per_class, 1.0) * torch.stack(terms).sum()

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint."""
        return {f"{PREFIX}{i}": value for i, value in enumerate(self._start) if value is not None}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take the start from a checkpoint; KeyError when it is not there."""
        for i, value in enumerate(self._start):
            if value is not None:
                self._start[i] = tensors[f"{PREFIX}{i}"].to(value.device)
