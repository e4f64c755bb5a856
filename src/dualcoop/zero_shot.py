"""What an untrained model takes from its backbone: templates, and a scale at which 0.5 is a fair threshold."""

from dualcoop.backbones.base import Backbone
from dualcoop.prompts import TemplateConfig

# A backbone's own scale is where training starts well. Untrained, this one makes 0.5 a fair threshold: on 168 of
# coco663's training photographs a label decided present is right as often as a present one is found (45 and 41 %).
LOGIT_SCALES = {"lite": 25.0}


def zero_shot_prompts(backbone: Backbone) -> TemplateConfig:
    """Hand-crafted prompts that suit a backbone.

    A backbone with a logit bias makes a probability of the positive prompt alone, and a better one than the
    difference to a negative prompt that it was never taught. Without a bias (CLIP) that probability would be 1 for
    everything, so the difference decides.
    """
    return TemplateConfig(negative=None) if backbone.logit_bias else TemplateConfig()


def zero_shot_logit_scale(backbone: Backbone) -> float:
    """Factor of the similarities in an untrained model's logits."""
    return LOGIT_SCALES.get(backbone.name, backbone.logit_scale)
