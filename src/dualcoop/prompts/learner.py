"""The learned contexts, positive and negative: Eq. 1 and 2 of the paper."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from dualcoop.backbones.base import Backbone
from dualcoop.class_names import normalise_name
from dualcoop.errors import ConfigError, ModelError, Only, Option
from dualcoop.prompts.config import DEFAULT_TOKENS, PromptConfig
from dualcoop.prompts.layout import PromptLayout, phrase_embeddings
from dualcoop.prompts.text_features import TextFeatures

if TYPE_CHECKING:
    from typing_extensions import Self


class Prompt(NamedTuple):
    """A context, what stands around it, its residual, and whether its text features are minus what the tower says."""

    context: nn.Parameter
    layout: PromptLayout
    residual: nn.Parameter | None
    opposite: bool


class PromptLearner(nn.Module):
    """Dual contexts in front of the class names, and residuals behind them where the configuration has them.

    These are its only parameters, and the method's.

    The backbone serves as tokenizer and embedding here and is handed to every call that needs its text tower:
    a frozen tower is no part of what is learned.

    Attributes:
        config: PromptConfig with `absence` and the negative phrase settled.
        positive_context: V+ of Eq. 1, (M, N+, W) or, shared, (N+, W); None in mode "negative".
        negative_context: V- of Eq. 2, (M, N-, W) or, shared, (N-, W); None in mode "positive".
        positive_residual, negative_residual: (M, D), zero at the start, added to the L2-normalised text features,
            which are then normalised again; None without residuals.
        positive_layout, negative_layout: PromptLayout of each prompt in use.
    """

    positive_context: nn.Parameter | None
    negative_context: nn.Parameter | None
    positive_residual: nn.Parameter | None
    negative_residual: nn.Parameter | None
    positive_layout: PromptLayout | None
    negative_layout: PromptLayout | None

    def __init__(self, backbone: Backbone, classes: Sequence[str], config: PromptConfig | None = None) -> None:
        """Initialise the contexts.

        Args:
            backbone: gives word embeddings, prompt lengths and its way of saying that a class is absent.
            classes: M names.
            config: PromptConfig() when None.

        Raises:
            ConfigError: when a prompt does not fit, or a phrase has more tokens than the context.
        """
        super().__init__()
        self.config = (config or PromptConfig()).for_backbone(backbone)
        # Behind contexts of one length all prompts read the same, and thousands of names take memory.
        layouts: dict[int, PromptLayout] = {}
        for name in self.config.prompts:
            context = layout = residual = None
            if name in self.config.names:
                context = nn.Parameter(initial_context(backbone, self.config, name, len(classes)))
                tokens = context.shape[-2]
                if tokens not in layouts:
                    layouts[tokens] = PromptLayout(backbone, classes, tokens, full_stop=self.config.full_stop)
                layout = layouts[tokens]
                if self.config.has_residual:
                    residual = nn.Parameter(torch.zeros(len(classes), backbone.embed_dim))
            self.register_parameter(f"{name}_context", context)
            self.register_module(f"{name}_layout", layout)
            self.register_parameter(f"{name}_residual", residual)

    @property
    def table(self) -> dict[str, Prompt]:
        """The prompts in use, by name."""
        return {
            name: Prompt(
                getattr(self, f"{name}_context"),
                getattr(self, f"{name}_layout"),
                getattr(self, f"{name}_residual"),
                opposite=name == "negative" and self.config.negative_is_opposite,
            )
            for name in self.config.names
        }

    def embeddings(self, name: str, class_subset: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Embeddings (K, L, W) of the named prompt, differentiable in the context, and end positions (K,), int64.

        Raises:
            ConfigError: when this prompt is not in use.
        """
        if name not in self.table:
            raise ConfigError((f"there is no {name} prompt with ", Option("mode", self.config.mode)))
        context, layout, *_ = self.table[name]
        embeddings: tuple[Tensor, Tensor] = layout(context, class_subset)
        return embeddings

    def text_features(self, backbone: Backbone, class_subset: Tensor | None = None) -> TextFeatures:
        """Text features of the prompts in use, each (K, D), differentiable in contexts and residuals."""
        features = {name: self._encode(backbone, prompt, class_subset) for name, prompt in self.table.items()}
        return TextFeatures(features, self.config.leading)

    def for_classes(self, backbone: Backbone, known: Sequence[str], classes: Sequence[str]) -> "Self":
        """The same contexts, copied, in front of `classes` instead of the M `known` names.

        Raises:
            ModelError: when the contexts are class-specific and a name is not known.
        """
        rows: slice | list[int] = slice(None)
        if self.config.class_specific:
            position = {normalise_name(name): index for index, name in enumerate(known)}
            if unknown := [name for name in classes if normalise_name(name) not in position]:
                shown = ", ".join(map(repr, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
                raise ModelError(
                    f"the prompts are class-specific and know nothing of {shown}; only prompts shared by all classes "
                    "carry over to new names",
                    remedy=(
                        *("train with ", Only("python", ("PromptConfig(", Option("class_specific", False), ")"))),
                        Only("shell", "`dualcoop train --shared`"),
                    ),
                )
            rows = [position[normalise_name(name)] for name in classes]
        learner = type(self)(backbone, classes, self.config)
        with torch.no_grad():
            for name, value in self.named_parameters():
                learner.get_parameter(name).copy_(value[rows])
        return learner

    def _encode(self, backbone: Backbone, prompt: Prompt, class_subset: Tensor | None) -> Tensor:
        context, layout, residual, opposite = prompt
        if self.config.class_specific:
            features = backbone.encode_prompts(*layout(context, class_subset))
        else:
            features = backbone.encode_prompts(*layout.behind_context(class_subset), layout.before_names(context))
        features = -features if opposite else features
        if residual is None:
            return features
        return normalize(features + (residual if class_subset is None else residual[class_subset]), dim=-1)


def initial_context(backbone: Backbone, config: PromptConfig, name: str, classes: int) -> Tensor:
    """First value of one context: (M, N, W), or (N, W) when shared.

    The phrase's embeddings stand directly before the class name, random vectors before them. Every context draws
    from a generator of its own, so that none depends on whether another is in use.

    Raises:
        ConfigError: when the phrase has more tokens than the context.
    """
    phrase: str | None = getattr(config, f"{name}_init")
    words = torch.empty(0, backbone.text_width) if phrase is None else phrase_embeddings(backbone, phrase).float().cpu()
    given: int | None = getattr(config, f"{name}_tokens")
    tokens = (len(words) or DEFAULT_TOKENS) if given is None else given
    if tokens < len(words):
        raise ConfigError(
            f"is {tokens}, but the phrase {phrase!r} has {len(words)} tokens for {backbone.name}",
            option=f"{name}_tokens",
            remedy=f"ask for at least {len(words)} or give a shorter phrase",
        )
    shape = (classes, tokens, backbone.text_width) if config.class_specific else (tokens, backbone.text_width)
    generator = torch.Generator().manual_seed(2 * config.seed + config.prompts.index(name))
    context = config.init_std * torch.randn(shape, generator=generator)
    context[..., tokens - len(words) :, :] = words
    return context
