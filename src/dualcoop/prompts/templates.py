"""Hand-crafted prompts without anything to learn: rows M0 and M1 of Table 5."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from dualcoop.backbones.base import Backbone
from dualcoop.class_names import normalise_name
from dualcoop.errors import ConfigError
from dualcoop.prompts.layout import TextFeatures, tokenize_prompts, used_length


@dataclass(frozen=True)
class TemplateConfig:
    """Texts with one `{}` for the class name; several are averaged (normalised, mean, normalised).

    Attributes:
        positive: one template or several for the presence of a class.
        negative: the same for its absence, or None to score by the positive templates alone.

    Raises:
        ConfigError: for a template without exactly one `{}`, or for no positive template.
    """

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
        self.config = config if config is not None else TemplateConfig()
        self.number_of_classes = len(classes)
        for polarity in ("positive", "negative"):
            templates = getattr(self.config, polarity)
            tokens = end_positions = None
            if templates is not None:
                names = [normalise_name(name) for name in classes]
                texts = [[template.replace("{}", name) for name in names] for template in templates]
                tokens = torch.cat([tokenize_prompts(backbone, row, classes) for row in texts])
                end_positions = backbone.end_positions(tokens)
                tokens = tokens[:, : used_length(backbone, end_positions)].clone()
            self.register_buffer(f"{polarity}_tokens", tokens, persistent=False)
            self.register_buffer(f"{polarity}_ends", end_positions, persistent=False)

    def text_features(self, backbone: Backbone, class_subset: Tensor | None = None) -> TextFeatures:
        """Text features of the templates in use, averaged over the templates, each (K, D)."""
        return TextFeatures(*(self._encode(backbone, name, class_subset) for name in ("positive", "negative")))

    def for_classes(self, backbone: Backbone, known: Sequence[str], classes: Sequence[str]) -> "TemplatePrompts":
        """The same templates for other classes."""
        del known
        return TemplatePrompts(backbone, classes, self.config)

    def _encode(self, backbone: Backbone, polarity: str, class_subset: Tensor | None) -> Tensor | None:
        tokens: Tensor | None = getattr(self, f"{polarity}_tokens")
        if tokens is None:
            return None
        ends: Tensor = getattr(self, f"{polarity}_ends")
        tokens, ends = (
            tokens.unflatten(0, (-1, self.number_of_classes)),
            ends.unflatten(0, (-1, self.number_of_classes)),
        )
        if class_subset is not None:
            tokens, ends = tokens[:, class_subset], ends[:, class_subset]
        # One template at a time: each holds as many prompts as there are classes.
        features = [
            backbone.encode_prompts(backbone.embed_tokens(ids), positions)
            for ids, positions in zip(tokens, ends, strict=True)
        ]
        return normalize(torch.stack(features).mean(dim=0), dim=-1)
