"""Text features that are kept as constants, and what makes them stale."""

from collections.abc import Sequence
from itertools import count
from typing import NamedTuple

import torch
from torch import nn

from dualcoop.backbones.base import Backbone
from dualcoop.prompts.text_features import TextFeatures
from dualcoop.tensor_marks import TensorMarks


class KeptText(NamedTuple):
    """Text features and what they were computed from: two objects, and the contexts by value.

    Attributes:
        prompts, backbone: whose they are.
        device: where they are.
        contexts: marks of all that is learned of the prompts.
        features: (M, D) each, without gradient.
    """

    prompts: nn.Module
    backbone: Backbone
    device: torch.device
    contexts: TensorMarks
    features: TextFeatures

    @classmethod
    def of(cls, prompts: nn.Module, backbone: Backbone, device: torch.device, features: TextFeatures) -> "KeptText":
        """Keep features that belong to the prompts as they are now."""
        # They must stay usable where gradients are wanted.
        with torch.inference_mode(False), torch.no_grad():
            moved = features.mapped(lambda each: each.to(device))
        return cls(prompts, backbone, device, TensorMarks(prompts.parameters(), values=None), moved)

    def fits(self, prompts: nn.Module, backbone: Backbone, device: torch.device) -> bool:
        """Whether the features still are those of these prompts."""
        # By all values, since contexts are small.
        same = self.prompts is prompts and self.backbone is backbone and self.device == device
        return same and self.contexts.fit([*prompts.parameters()])


def merged_text_features(known: TextFeatures, new: TextFeatures | None, rows: Sequence[int | None]) -> TextFeatures:
    """Text features of a list of names of which some are known.

    Args:
        known: (K, D) each.
        new: of those names that are not known, in their order; None where all are.
        rows: of each name, its row in `known`; None for a new one.
    """
    following = count(len(known[known.leading]))
    order = [next(following) if row is None else row for row in rows]
    if new is not None:
        known = TextFeatures({name: torch.cat([each, new[name]]) for name, each in known.items()}, known.leading)
    return known.selected(torch.tensor(order, device=known[known.leading].device))
