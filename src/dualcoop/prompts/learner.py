"""The learned contexts, positive and negative: Eq. 1 and 2 of the paper."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from dualcoop.backbones.base import Backbone
from dualcoop.class_names import normalise_name
from dualcoop.errors import ConfigError, ModelError
from dualcoop.prompts.config import DEFAULT_TOKENS, PromptConfig
from dualcoop.prompts.layout import PromptLayout, TextFeatures, phrase_embeddings

POLARITIES = ("positive", "negative")


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
        for polarity in POLARITIES:
            used = self.config.mode in ("dual", polarity)
            context = initial_context(backbone, self.config, polarity, len(classes)) if used else None
            layout = None
            if context is not None:
                layout = self._layout(backbone, classes, context.shape[-2])
            self.register_parameter(f"{polarity}_context", None if context is None else nn.Parameter(context))
            self.register_module(f"{polarity}_layout", layout)
            residual = torch.zeros(len(classes), backbone.embed_dim) if used and self.config.has_residual else None
            self.register_parameter(f"{polarity}_residual", None if residual is None else nn.Parameter(residual))

    def embeddings(self, polarity: str, class_subset: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Prompt embeddings (K, L, W), differentiable in the context, and end positions (K,), int64.

        Args:
            polarity: "positive" or "negative".
            class_subset: (K,), int64, indices of the classes wanted; None for all M.

        Raises:
            ConfigError: when this prompt is not in use.
        """
        context, layout = self._prompt(polarity)
        return layout(context, class_subset)

    def text_features(self, backbone: Backbone, class_subset: Tensor | None = None) -> TextFeatures:
        """Text features of the prompts in use, each (K, D), differentiable in contexts and residuals."""
        return TextFeatures(*(self._encode(backbone, polarity, class_subset) for polarity in POLARITIES))

    def for_classes(self, backbone: Backbone, known: Sequence[str], classes: Sequence[str]) -> "PromptLearner":
        """The same contexts, copied, in front of other names.

        Args:
            backbone: as at construction.
            known: the M names that these prompts were made for.
            classes: the names wanted. Shared contexts take any, class-specific ones only known names.

        Raises:
            ModelError: when the contexts are class-specific and a name is not known.
        """
        rows: slice | list[int] = slice(None)
        if self.config.class_specific:
            position = {normalise_name(name): index for index, name in enumerate(known)}
            if unknown := [name for name in classes if normalise_name(name) not in position]:
                shown = ", ".join(map(repr, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
                raise ModelError(
                    f"the prompts are class-specific and know nothing of {shown}; only prompts shared by all "
                    "classes carry over to new names: train with PromptConfig(class_specific=False)"
                )
            rows = [position[normalise_name(name)] for name in classes]
        learner = PromptLearner(backbone, classes, self.config)
        with torch.no_grad():
            for polarity in POLARITIES:
                for name in (f"{polarity}_context", f"{polarity}_residual"):
                    value = getattr(self, name)
                    if value is not None:
                        getattr(learner, name).copy_(value[rows])
        return learner

    def _encode(self, backbone: Backbone, polarity: str, class_subset: Tensor | None) -> Tensor | None:
        if self.config.mode not in ("dual", polarity):
            return None
        context, layout = self._prompt(polarity)
        if self.config.class_specific:
            features = backbone.encode_prompts(*layout(context, class_subset))
        else:
            features = backbone.encode_prompts(*layout.behind_context(class_subset), layout.before_names(context))
        if polarity == "negative" and self.config.negative_is_opposite:
            features = -features
        residual: nn.Parameter | None = getattr(self, f"{polarity}_residual")
        if residual is None:
            return features
        return normalize(features + (residual if class_subset is None else residual[class_subset]), dim=-1)

    def _layout(self, backbone: Backbone, classes: Sequence[str], tokens: int) -> PromptLayout:
        # Behind contexts of one length both prompts read the same, and thousands of names take memory.
        positive: PromptLayout | None = getattr(self, "positive_layout", None)
        if positive is not None and positive.context_tokens == tokens:
            return positive
        return PromptLayout(backbone, classes, tokens, full_stop=self.config.full_stop)

    def _prompt(self, polarity: str) -> tuple[nn.Parameter, PromptLayout]:
        context: nn.Parameter | None = getattr(self, f"{polarity}_context", None)
        layout: PromptLayout | None = getattr(self, f"{polarity}_layout", None)
        if context is None or layout is None:
            raise ConfigError(f"there is no {polarity} prompt: the prompts' mode is {self.config.mode!r}")
        return context, layout


def initial_context(backbone: Backbone, config: PromptConfig, polarity: str, classes: int) -> Tensor:
    """First value of one context: (M, N, W), or (N, W) when shared.

    The phrase's embeddings stand directly before the name, random vectors before them. The two contexts draw
    from generators of their own, so that neither depends on whether the other is in use.

    Raises:
        ConfigError: when the phrase has more tokens than the context.
    """
    phrase: str | None = getattr(config, f"{polarity}_init")
    tokens: int | None = getattr(config, f"{polarity}_tokens")
    no_words = torch.empty(0, backbone.text_width)
    words = no_words if phrase is None else phrase_embeddings(backbone, phrase).float().cpu()
    if tokens is None:
        tokens = DEFAULT_TOKENS if phrase is None else len(words)
    if tokens < len(words):
        raise ConfigError(
            f"{polarity}_tokens is {tokens}, but the phrase {phrase!r} has {len(words)} tokens for "
            f"{backbone.name}; ask for at least {len(words)} or give a shorter phrase"
        )
    shape = (classes, tokens, backbone.text_width) if config.class_specific else (tokens, backbone.text_width)
    generator = torch.Generator().manual_seed(2 * config.seed + POLARITIES.index(polarity))
    context = config.init_std * torch.randn(shape, generator=generator)
    if len(words):
        context[..., tokens - len(words) :, :] = words
    return context
