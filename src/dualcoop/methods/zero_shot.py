"""No training: templates around the names, and a scale that suits them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dualcoop.backbones.base import Backbone
from dualcoop.features.checks import check_labelled
from dualcoop.features.regions import RegionFeatures
from dualcoop.methods.base import Labelled, Method
from dualcoop.network import DualCoOpNetwork
from dualcoop.prompts import TemplateConfig, TemplatePrompts

if TYPE_CHECKING:
    from typing_extensions import Self


def zero_shot_prompts(backbone: Backbone) -> TemplateConfig:
    """Hand-crafted prompts that suit a backbone.

    A backbone with a logit bias makes a probability of the positive prompt alone, and a better one than the
    difference to a negative prompt that it was never taught. Without a bias (CLIP) that probability would be 1 for
    everything, so the difference decides.
    """
    return TemplateConfig(negative=None) if backbone.logit_bias else TemplateConfig()


def zero_shot_logit_scale(backbone: Backbone) -> float:
    """Scale of an untrained model's logits."""
    return backbone.logit_scale if backbone.zero_shot_scale is None else backbone.zero_shot_scale


class ZeroShot(DualCoOpNetwork, Method):
    """Hand-crafted prompts for any names, with a scale at which 0.5 is a fair threshold; see `DualCoOpNetwork`."""

    method = "zero-shot"
    loading_options = ("aggregation",)

    def __init__(
        self,
        backbone: Backbone,
        classes: Sequence[str],
        prompts: TemplateConfig | TemplatePrompts | None = None,
        *,
        logit_scale: float | None = None,
        **options: Any,
    ) -> None:
        """Put templates around names, by default those that suit the backbone; see `DualCoOpNetwork`."""
        scale = zero_shot_logit_scale(backbone) if logit_scale is None else logit_scale
        super().__init__(backbone, classes, prompts or zero_shot_prompts(backbone), logit_scale=scale, **options)

    def fit(self, features: RegionFeatures, labels: NDArray[np.int8], valid: Labelled | None = None) -> "Self":
        """Choose per-class thresholds on held-out images where there are any; nothing else is learned."""
        check_labelled(self, features, labels, "features")
        if valid is not None:
            check_labelled(self, *valid, "valid")
            self._fit_thresholds(valid)
        return self
