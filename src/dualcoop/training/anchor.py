"""A pull of the text features towards their start, for runs with few known labels."""

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from dualcoop.network import DualCoOpNetwork
from dualcoop.prompts import TextFeatures

PREFIX = "anchor."


class Anchor:
    """Penalty strength / n * (1 - cos(T, T0)), mean over classes and summed over the prompts.

    n is the number of known labels per class, so that beside the mean loss over the known labels the start
    counts as much as `strength` labels: the penalty matters at 10 % of the labels and fades at 100 %.

    Args:
        model: at its start; T0 are its text features now.
        strength: 0 for no penalty.
    """

    def __init__(self, model: DualCoOpNetwork, strength: float) -> None:
        self._start: dict[str, Tensor] = {}
        self._strength = strength
        if strength:
            with torch.no_grad():
                self._start = {name: each.clone() for name, each in model.text_features().items()}

    def penalty(self, text: TextFeatures, class_subset: Tensor | None, labels_per_class: float) -> Tensor | float:
        """Scalar in the units of the mean loss, differentiable in the text features; 0 without an anchor.

        Args:
            text, class_subset: features of the prompts in use, each (M, D), or (K, D) of a subset (K,), int64.
            labels_per_class: n, known training labels per class.
        """
        if not self._strength:
            return 0.0
        terms = [
            (1 - cosine_similarity(text[name], start if class_subset is None else start[class_subset])).mean()
            for name, start in self._start.items()
        ]
        return self._strength / max(labels_per_class, 1.0) * torch.stack(terms).sum()

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint."""
        return {f"{PREFIX}{i}": value for i, value in enumerate(self._start.values())}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take the start from a checkpoint; ValueError when it is not there."""
        # In their order: what counts them may once have counted prompts that are not in use.
        found = [tensors[key] for key in sorted(tensors) if key.startswith(PREFIX)]
        pairs = zip(self._start.items(), found, strict=True)
        self._start = {name: value.to(own.device) for (name, own), value in pairs}
