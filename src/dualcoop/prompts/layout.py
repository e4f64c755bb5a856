"""Where the learned vectors stand among a prompt's word embeddings: `[SOS] V1..VN name . [EOS]`."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dualcoop.backbones.base import Backbone
from dualcoop.class_names import normalise_name
from dualcoop.errors import BackboneError, ConfigError

PLACEHOLDER = "X"


def tokenize_prompts(backbone: Backbone, texts: Sequence[str], classes: Sequence[str]) -> Tensor:
    """Token ids of one text a class, (M, context_length).

    Raises:
        ConfigError: naming the first class whose text is too long for the backbone.
    """
    try:
        return backbone.tokenize(texts)
    except BackboneError:
        for text, name in zip(texts, classes, strict=True):
            try:
                backbone.tokenize([text])
            except BackboneError as error:
                raise ConfigError(
                    f"the prompt of class {name!r} does not fit into the {backbone.context_length} tokens of "
                    f"{backbone.name}",
                    remedy="use fewer context tokens, a shorter template or a shorter name",
                ) from error
        raise


def used_length(backbone: Backbone, end_positions: Tensor) -> int:
    """Tokens that can matter: up to the last end token under a causal mask, all of them otherwise."""
    return int(end_positions.max()) + 1 if backbone.causal_text else backbone.context_length


def phrase_embeddings(backbone: Backbone, phrase: str) -> Tensor:
    """Word embeddings of a phrase without start, end and padding: (N, W).

    Raises:
        ConfigError: when the phrase has no tokens of its own or does not fit into the backbone's context.
    """
    texts = [f"{phrase.strip()} {PLACEHOLDER}", f"{PLACEHOLDER} {PLACEHOLDER}"]
    try:
        phrase_tokens, pair_tokens = backbone.tokenize(texts)
    except BackboneError as error:
        raise ConfigError(f"the initial phrase {phrase!r} cannot be tokenized: {error}") from error
    start, length = backbone.context_start, backbone.context_length
    for count in range(1, length - start):
        if torch.equal(phrase_tokens[start + count :], pair_tokens[start + 1 : length - count + 1]):
            return backbone.embed_tokens(phrase_tokens[None, start : start + count])[0].detach()
    raise ConfigError(f"the initial phrase {phrase!r} has no tokens of its own for {backbone.name}")


class PromptLayout(nn.Module):
    """Embeddings of everything in the prompts but the context, as buffers that are not saved.

    Attributes:
        context_tokens: N.
        prefix: (1, S, W), what stands before the context (CLIP's start token); S may be 0.
        suffix: (M, L - S - N, W), name, full stop, end token and, without a causal mask, padding.
        end_positions: (M,), index at which each prompt is pooled.
    """

    prefix: Tensor
    suffix: Tensor
    end_positions: Tensor

    def __init__(self, backbone: Backbone, classes: Sequence[str], context_tokens: int, *, full_stop: bool) -> None:
        """Lay out one prompt a class; the backbone's tokenizer and word embeddings are used here and not kept.

        Raises:
            ConfigError: when a prompt is too long, or when the tokenizer joins placeholders and name.
        """
        super().__init__()
        names = [normalise_name(name) + ("." if full_stop else "") for name in classes]
        placeholders = " ".join([PLACEHOLDER] * context_tokens)
        tokens = tokenize_prompts(backbone, [f"{placeholders} {name}" for name in names], classes)
        start, end = backbone.context_start, backbone.context_start + context_tokens
        # A text's first word may have another token than the same word later on (SigLIP 2).
        first, second, third = backbone.tokenize([" ".join([PLACEHOLDER] * 3)])[0, start : start + 3]
        expected = torch.stack([first] + [second] * (context_tokens - 1))
        broken = (tokens[:, start:end] != expected).any(dim=1) | (second != third)
        if bool(broken.any()):
            name = classes[int(broken.int().argmax())]
            raise ConfigError(
                f"{context_tokens} placeholders before {name!r} do not stay {context_tokens} tokens "
                f"under the tokenizer of {backbone.name}, so its prompt cannot be laid out"
            )
        end_positions = backbone.end_positions(tokens)
        used = used_length(backbone, end_positions)
        self.context_tokens = context_tokens
        self.register_buffer("prefix", backbone.embed_tokens(tokens[:1, :start]).detach(), persistent=False)
        self.register_buffer("suffix", backbone.embed_tokens(tokens[:, end:used]).detach(), persistent=False)
        self.register_buffer("end_positions", end_positions.clone(), persistent=False)

    def forward(self, context: Tensor, class_subset: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Put a context, (N, W) for all classes or (M, N, W), into the prompts of all classes or some (K,).

        Returns:
            Embeddings (K, L, W) and end positions (K,).
        """
        if class_subset is not None and context.dim() == 3:
            context = context[class_subset]
        suffix, end_positions = self.behind_context(class_subset)
        before = (each.expand(len(suffix), -1, -1) for each in (self.prefix, context))
        return torch.cat([*before, suffix], dim=1), end_positions + self.names_start

    @property
    def names_start(self) -> int:
        """Index of the names' first token, S + N."""
        return self.prefix.shape[1] + self.context_tokens

    def before_names(self, context: Tensor) -> Tensor:
        """What all prompts begin with under a shared context (N, W): (S + N, W)."""
        return torch.cat([self.prefix[0], context])

    def behind_context(self, class_subset: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Name, full stop and the rest, (K, L - S - N, W), and the pooled token's index there, (K,)."""
        suffix, ends = self.suffix, self.end_positions - self.names_start
        return (suffix, ends) if class_subset is None else (suffix[class_subset], ends[class_subset])
