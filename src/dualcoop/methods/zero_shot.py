"""What an untrained model takes from its backbone: templates, and a scale that suits them."""

from dualcoop.backbones.base import Backbone
from dualcoop.prompts import TemplateConfig

# A backbone's own scale is where training goes well. Untrained, 25 makes 0.5 a fair threshold: there a label decided
# present is about as often right as a present one is found (training photographs of coco663).
LOGIT_SCALES = {"lite": 25.0}


def zero_shot_prompts(backbone: Backbone) -> TemplateConfig:
    """Hand-crafted prompts that suit a backbone.

    A backbone with a logit bias makes a probability of the positive prompt alone, and a better one than the
    difference to a negative prompt that it was never taught. Without a bias (CLIP) that probability would be 1 for
    everything, so the difference decides.
    """
    return TemplateConfig(negative=None) if backbone.logit_bias else TemplateConfig()


def zero_shot_logit_scale(backbone: Backbone) -> float:
    """Scale of an untrained model's logits."""
    return LOGIT_SCALES.get(backbone.name, backbone.logit_scale)
