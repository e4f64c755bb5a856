"""Hand-crafted prompts without anything to learn: rows M0 and M1 of Table 5."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from dualcoop.backbones.base import Backbone
from dualcoop.class_names import normalise_name
from dualcoop.errors import ConfigError
from dualcoop.prompts.layout import tokenize_prompts, used_length
from dualcoop.prompts.text_features import TextFeatures


@dataclass(frozen=True)
class TemplateConfig:
    """Texts with one `{}` for the class name; several are averaged (normalised, mean, normalised).

    Attributes:
        positive: one template or several for the presence of a class.
        negative: the same for its absence, or None to score by the positive templates alone.

    Raises:
        ConfigError: for a template without exactly one `{}`, or for no positive template.
    """

    leading: ClassVar[str | None] = None

    positive: str | Sequence[str] = ("a photo of a {}.",)
    negative: str | Sequence[str] | None = ("a photo without a {}.",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "positive", _templates("positive", self.positive))
        if self.negative is not None:
            object.__setattr__(self, "negative", _templates("negative", self.negative))

    @classmethod
    def contextless(cls) -> "TemplateConfig":
        """Row M0 of Table 5: the bare class name, and no negative prompt."""
        return cls(("{}",), None)

    @property
    def names(self) -> tuple[str, ...]:
        """The prompts in use."""
        return tuple(name for name, value in asdict(self).items() if value is not None)

    def to_dict(self) -> dict[str, Any]:
        """Fields as JSON values; `dualcoop.prompts.prompts_from_dict` reads them back."""
        fields = {name: None if value is None else list(value) for name, value in asdict(self).items()}
        return {"kind": "templates", **fields}


def _templates(name: str, given: object) -> tuple[str, ...]:
    templates = (given,) if isinstance(given, str) else given
    if not isinstance(templates, Sequence) or not templates:
        raise ConfigError(f"is {given!r}, expected a text with one {{}}, or several", option=name)
    for template in templates:
        if not isinstance(template, str) or template.count("{}") != 1:
            raise ConfigError(f"holds {template!r}, expected texts with exactly one {{}} each", option=name)
    return tuple(templates)


class TemplatePrompts(nn.Module):
    """Hand-crafted prompts with the interface of `PromptLearner` and no parameters.

    Attributes:
        config: TemplateConfig.
    """

    def __init__(self, backbone: Backbone, classes: Sequence[str], config: TemplateConfig | None = None) -> None:
        """Tokenize every template for every class.

        Raises:
            ConfigError: naming the first class whose text is too long.
        """
        super().__init__()
        self.config = config or TemplateConfig()
        self.number_of_classes = len(classes)
        words = [normalise_name(name) for name in classes]
        for name in self.config.names:
            texts = [[template.replace("{}", word) for word in words] for template in getattr(self.config, name)]
            tokens = torch.cat([tokenize_prompts(backbone, row, classes) for row in texts])
            end_positions = backbone.end_positions(tokens)
            tokens = tokens[:, : used_length(backbone, end_positions)].clone()
            self.register_buffer(f"{name}_tokens", tokens, persistent=False)
            self.register_buffer(f"{name}_ends", end_positions, persistent=False)

    def text_features(self, backbone: Backbone, class_subset: Tensor | None = None) -> TextFeatures:
        """Text features of the templates in use, averaged over the templates, each (K, D)."""
        return TextFeatures({name: self._encode(backbone, name, class_subset) for name in self.config.names})

    def for_classes(self, backbone: Backbone, known: Sequence[str], classes: Sequence[str]) -> "TemplatePrompts":
        """The same templates for other classes."""
        del known
        return TemplatePrompts(backbone, classes, self.config)

    def _encode(self, backbone: Backbone, name: str, class_subset: Tensor | None) -> Tensor:
        buffers: tuple[Tensor, Tensor] = getattr(self, f"{name}_tokens"), getattr(self, f"{name}_ends")
        tokens, ends = (each.unflatten(0, (-1, self.number_of_classes)) for each in buffers)
        if class_subset is not None:
            tokens, ends = tokens[:, class_subset], ends[:, class_subset]
        # One template at a time: each holds as many prompts as there are classes.
        features = [
            backbone.encode_prompts(backbone.embed_tokens(ids), positions)
            for ids, positions in zip(tokens, ends, strict=True)
        ]
        return normalize(torch.stack(features).mean(dim=0), dim=-1)
