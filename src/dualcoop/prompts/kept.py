"""Text features that are kept as constants, and what makes them stale."""

from collections.abc import Sequence
from itertools import count
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dualcoop.backbones.base import Backbone
from dualcoop.prompts.text_features import TextFeatures


class KeptText(NamedTuple):
    """Text features and what they were computed from: two objects, and the contexts by value.

    Attributes:
        prompts, backbone: whose they are.
        device: where they are.
        contexts: copies of all that is learned of the prompts.
        features: (M, D) each, without gradient.
    """

    prompts: nn.Module
    backbone: Backbone
    device: torch.device
    contexts: list[Tensor]
    features: TextFeatures

    @classmethod
    def of(cls, prompts: nn.Module, backbone: Backbone, device: torch.device, features: TextFeatures) -> "KeptText":
        """Keep features that belong to the prompts as they are now."""
        # They must stay usable where gradients are wanted.
        with torch.inference_mode(False), torch.no_grad():
            contexts = [context.detach().clone() for context in prompts.parameters()]
            moved = features.mapped(lambda each: each.to(device))
        return cls(prompts, backbone, device, contexts, moved)

    def fits(self, prompts: nn.Module, backbone: Backbone, device: torch.device) -> bool:
        """Whether the features still are those of these prompts."""
        contexts = list(prompts.parameters())
        # Values, because version counters miss fused optimizers and writes to `.data`; contexts are small.
        return (
            self.prompts is prompts
            and self.backbone is backbone
            and self.device == device
            and len(self.contexts) == len(contexts)
            and all(a.device == b.device and torch.equal(a, b) for a, b in zip(self.contexts, contexts, strict=True))
        )


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
