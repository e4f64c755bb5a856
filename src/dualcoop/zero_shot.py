"""What an untrained model takes from its backbone: templates, and scales that suit them."""

from typing import NamedTuple

from dualcoop.backbones.base import Backbone
from dualcoop.prompts import TemplateConfig


class HeadScales(NamedTuple):
    """Scales of Eq. 5 and 3: over the regions, and of the logits."""

    spatial: float
    logit: float


# A backbone's own scales are where training goes well. Untrained, a sharper look at regions is better (training
# photographs of coco663: 53.8 mAP at 10, 52.4 at 5), and 25 makes 0.5 a fair threshold: there a label decided present
# is about as often right as a present one is found.
ZERO_SHOT_SCALES = {"lite": HeadScales(spatial=10.0, logit=25.0)}


def zero_shot_prompts(backbone: Backbone) -> TemplateConfig:
    """Hand-crafted prompts that suit a backbone.

    A backbone with a logit bias makes a probability of the positive prompt alone, and a better one than the
    difference to a negative prompt that it was never taught. Without a bias (CLIP) that probability would be 1 for
    everything, so the difference decides.
    """
    return TemplateConfig(negative=None) if backbone.logit_bias else TemplateConfig()


def zero_shot_scales(backbone: Backbone) -> HeadScales:
    """Scales of an untrained model's head."""
    return ZERO_SHOT_SCALES.get(backbone.name, HeadScales(backbone.spatial_scale, backbone.logit_scale))
