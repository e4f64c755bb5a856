"""Prompts from their configuration, and the configuration from JSON values."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from dualcoop.backbones.base import Backbone
from dualcoop.errors import ConfigError
from dualcoop.prompts.config import PromptConfig
from dualcoop.prompts.learner import PromptLearner
from dualcoop.prompts.templates import TemplateConfig, TemplatePrompts


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
