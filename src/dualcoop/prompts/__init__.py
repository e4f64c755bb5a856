"""Prompts: learned dual contexts (Eq. 1 and 2) and hand-crafted templates, behind one interface."""

from typing import TYPE_CHECKING

from dualcoop.lazy import lazy_attributes

if TYPE_CHECKING:
    from dualcoop.prompts.building import build_prompts as build_prompts
    from dualcoop.prompts.building import prompts_from_dict as prompts_from_dict
    from dualcoop.prompts.config import PromptConfig as PromptConfig
    from dualcoop.prompts.kept import KeptText as KeptText
    from dualcoop.prompts.kept import merged_text_features as merged_text_features
    from dualcoop.prompts.layout import PromptLayout as PromptLayout
    from dualcoop.prompts.learner import PromptLearner as PromptLearner
    from dualcoop.prompts.templates import TemplateConfig as TemplateConfig
    from dualcoop.prompts.templates import TemplatePrompts as TemplatePrompts
    from dualcoop.prompts.text_features import TextFeatures as TextFeatures

# Imported when first asked for, so that the command line can show the options of prompts without torch.
__all__, __getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "dualcoop.prompts.building": ("build_prompts", "prompts_from_dict"),
        "dualcoop.prompts.config": ("PromptConfig",),
        "dualcoop.prompts.kept": ("KeptText", "merged_text_features"),
        "dualcoop.prompts.layout": ("PromptLayout",),
        "dualcoop.prompts.learner": ("PromptLearner",),
        "dualcoop.prompts.templates": ("TemplateConfig", "TemplatePrompts"),
        "dualcoop.prompts.text_features": ("TextFeatures",),
    },
)
