"""The methods that are compared, on the same features and masks: name, and how each is made and fitted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from dualcoop import PromptConfig, TrainingArguments
from dualcoop.baselines import LinearProbe
from dualcoop.features import RegionFeatures
from dualcoop.methods.base import Method
from dualcoop.methods.registry import method_class
from experiments.photographs import Photographs

ARGUMENTS = TrainingArguments(precision="bfloat16")
CLASS_SPECIFIC = PromptConfig(class_specific=True)
CONTEXTS_ALONE = PromptConfig(class_specific=True, residual=False)
SHARED = PromptConfig(class_specific=False)


@dataclass(frozen=True)
class Recipe:
    """How a method is made and fitted.

    Attributes:
        method: its name in the registry.
        making: options of its constructor.
        fitting: options of its `fit`.
        holds_out: a fifth of the training images is held out for choices.
    """

    method: str
    making: Mapping[str, Any] = field(default_factory=dict)
    fitting: Mapping[str, Any] = field(default_factory=dict)
    holds_out: bool = False

    def make(self, photographs: Photographs, classes: Sequence[str]) -> Method:
        """The method for these classes, before it has seen a label."""
        return method_class(self.method)(
            photographs.backbone, classes, image_size=photographs.image_size, **self.making
        )

    def fit(
        self, model: Method, features: RegionFeatures, labels: np.ndarray, held: np.ndarray | None = None
    ) -> Method:
        """Fit on all images; those held out (indices among them) are for choices, where the method makes any."""
        if held is None or not self.holds_out:
            return model.fit(features, labels, **self.fitting)
        kept = np.setdiff1d(np.arange(len(labels)), held)
        valid = features.subset(held), labels[held]
        return model.fit(features.subset(kept), labels[kept], valid, **self.fitting)


def recipes(seed: int) -> dict[str, Recipe]:
    """All methods with this seed, by the names that the results have."""
    fitting = {"arguments": replace(ARGUMENTS, seed=seed)}
    prompts = {"class-specific": CLASS_SPECIFIC, "class-specific-contexts": CONTEXTS_ALONE, "shared": SHARED}
    return {
        "zero-shot": Recipe("zero-shot"),
        "linear": Recipe("linear", {"probe": LinearProbe(refit=True)}, holds_out=True),
        **{
            name: Recipe("dualcoop", {"prompts": replace(config, seed=seed)}, fitting)
            for name, config in prompts.items()
        },
    }
