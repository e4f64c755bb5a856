"""Prompts: learned dual contexts (Eq. 1 and 2) and hand-crafted templates, behind one interface."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from dualcoop.backbones.base import Backbone
from dualcoop.class_names import ClassDifferences, checked_classes, normalise_name, some_names
from dualcoop.errors import ConfigError
from dualcoop.prompts.config import PromptConfig
from dualcoop.prompts.kept import KeptText, merged_text_features
from dualcoop.prompts.layout import PromptLayout, TextFeatures
from dualcoop.prompts.learner import PromptLearner
from dualcoop.prompts.templates import TemplateConfig, TemplatePrompts

__all__ = [
    "ClassDifferences",
    "KeptText",
    "PromptConfig",
    "PromptLayout",
    "PromptLearner",
    "TemplateConfig",
    "TemplatePrompts",
    "TextFeatures",
    "build_prompts",
    "checked_classes",
    "merged_text_features",
    "normalise_name",
    "prompts_from_dict",
    "some_names",
]


def build_prompts(
    backbone: Backbone, classes: Sequence[str], config: PromptConfig | TemplateConfig
) -> PromptLearner | TemplatePrompts:
    """The prompts that `config` describes, for these classes and this backbone's tokenizer."""
    if isinstance(config, TemplateConfig):
        return TemplatePrompts(backbone, classes, config)
    return PromptLearner(backbone, classes, config)


def prompts_from_dict(values: Mapping[str, Any]) -> PromptConfig | TemplateConfig:
    """Read what either configuration's `to_dict` wrote; raises ConfigError for anything else."""
    options = dict(values)
    kind = options.pop("kind", None)
    if kind not in ("learned", "templates"):
        raise ConfigError(f"prompts are of kind {kind!r}, expected learned or templates")
    config = PromptConfig if kind == "learned" else TemplateConfig
    known = [field.name for field in fields(config)]
    if unknown := sorted(set(options) - set(known)):
        raise ConfigError(f"prompts have unknown options {', '.join(unknown)}; known are {', '.join(known)}")
    return config(**options)
