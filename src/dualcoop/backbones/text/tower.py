"""The text tower of a CLIP-style model, run from prompt embeddings instead of token ids (Eq. 1 and 2)."""

import inspect
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import open_clip
import torch
from open_clip.transformer import LayerNorm, QuickGELU, TextTransformer
from torch import Tensor, nn

from dualcoop.backbones.text.causal import encode_causal, supports
from dualcoop.backbones.text.text_memory import GROUP_BYTES, bytes_per_token, encode_groups
from dualcoop.errors import BackboneError

POOLINGS = ("argmax", "eos", "last", "first")


class TextTower(nn.Module):
    """Positions, transformer, final norm, pooling at one token per text, projection.

    The tensors have the names that open_clip's `TextTransformer` gives them, so its state dict loads as it
    is.

    Args:
        model: an open_clip `CLIP`, `CustomTextCLIP` or `TextTransformer`, whose text modules are shared, not copied.

    Attributes:
        width: W.
        context_length: longest sequence.
        causal: a token sees only those before it.
        causal_text: nothing behind the pooled token matters, so sequences may be cut after it.
        pooling: "argmax" pools at the highest id (CLIP's end token), "eos" at the first `eos_id`, "last" and
            "first" at the ends of the padded sequence.
        eos_id: id of the end token where `pooling` is "eos".

    Raises:
        BackboneError: for text towers of another kind (Hugging Face encoders, class embeddings of CoCa) or pooling.
    """

    causal_mask: Tensor

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        part: Any = getattr(model, "text", model)
        own = isinstance(part, TextTransformer)
        if not (own or isinstance(part, open_clip.CLIP)) or getattr(part, "cls_emb", None) is not None:
            raise BackboneError(
                f"the text tower is a {type(part).__name__}; supported are open_clip's own text transformers without a "
                "class embedding, not Hugging Face encoders and not CoCa",
                remedy="choose another backbone",
            )
        self.pooling: str = part.pool_type if own else part.text_pool_type
        if self.pooling not in POOLINGS:
            raise BackboneError(
                f"the text tower pools by {self.pooling!r}, supported are {', '.join(POOLINGS)}",
                remedy="choose another backbone",
            )
        self.eos_id: int = part.eos_id if own else part.text_eos_id
        self.causal = part.attn_mask is not None
        self.causal_text = self.causal and self.pooling in ("argmax", "eos")
        self.token_embedding = part.token_embedding
        self.positional_embedding = part.positional_embedding
        self.transformer = part.transformer
        self.ln_final = part.ln_final
        self.text_projection = part.text_projection
        self._plain_blocks = supports(getattr(part.transformer, "resblocks", [part.transformer]))
        self.context_length, self.width = part.positional_embedding.shape
        mask = torch.full((self.context_length, self.context_length), float("-inf")).triu_(1)
        self.register_buffer("causal_mask", mask, persistent=False)

    @classmethod
    def from_config(cls, embed_dim: int, text_cfg: Mapping[str, Any], *, quick_gelu: bool = False) -> "TextTower":
        """Build a tower with random weights from the `text_cfg` of an open_clip model config.

        Args:
            embed_dim: D.
            text_cfg: fields of `open_clip.CLIPTextCfg`.
            quick_gelu: use x * sigmoid(1.702 x), as OpenAI's models do.
        """
        fields = asdict(open_clip.CLIPTextCfg(**text_cfg))
        accepted = inspect.signature(TextTransformer).parameters
        arguments = {key: value for key, value in fields.items() if key in accepted}
        activation = QuickGELU if quick_gelu else partial(nn.GELU, **(fields["act_kwargs"] or {}))
        norm = partial(LayerNorm, **(fields["norm_kwargs"] or {}))
        return cls(TextTransformer(**arguments, output_dim=embed_dim, act_layer=activation, norm_layer=norm))

    @property
    def embed_dim(self) -> int:
        """D, dimension of the joint space."""
        projection = self.text_projection
        if isinstance(projection, nn.Linear):
            return projection.out_features
        return self.width if projection is None else projection.shape[1]

    def end_positions(self, tokens: Tensor) -> Tensor:
        """Index at which each text is pooled: ids (M, L) to (M,), int64."""
        if self.pooling == "argmax":
            return tokens.argmax(dim=-1)
        if self.pooling == "eos":
            return torch.eq(tokens, self.eos_id).int().argmax(dim=-1)
        index = tokens.shape[1] - 1 if self.pooling == "last" else 0
        return torch.full((tokens.shape[0],), index, dtype=torch.long, device=tokens.device)

    def forward(self, embeddings: Tensor, end_positions: Tensor, shared_prefix: Tensor | None = None) -> Tensor:
        """Text features that are not yet normalised, (M, D); see `Backbone.encode_prompts`.

        Raises:
            BackboneError: when P + L is above the context length, or below it although every token matters.
        """
        before = 0 if shared_prefix is None else len(shared_prefix)
        self._check_length(before + embeddings.shape[1])
        blocks: Any = self.transformer.resblocks
        if self.causal_text and self._plain_blocks:
            positions = self.positional_embedding.to(embeddings.dtype)
            pooled = encode_causal(blocks, embeddings, end_positions, positions, shared_prefix)
        else:
            if shared_prefix is not None:
                prefix = shared_prefix.expand(len(embeddings), -1, -1)
                embeddings = torch.cat([prefix, embeddings], dim=1)
            per_prompt = embeddings.shape[1] * bytes_per_token(blocks, self.width, embeddings.shape[1])
            step = max(1, GROUP_BYTES // per_prompt)
            groups = zip(embeddings.split(step), (end_positions + before).split(step), strict=True)
            pooled = encode_groups(self.encode_plainly, groups, len(embeddings) * per_prompt)
        pooled = self.ln_final(pooled)
        projection = self.text_projection
        if isinstance(projection, nn.Linear):
            return projection(pooled)
        return pooled if projection is None else pooled @ projection

    def encode_plainly(self, embeddings: Tensor, end_positions: Tensor) -> Tensor:
        """Output of open_clip's own transformer at the pooled tokens: (M, L, W) to (M, W)."""
        count, length, _ = embeddings.shape
        features = embeddings + self.positional_embedding[:length].to(embeddings.dtype)
        mask = self.causal_mask[:length, :length] if self.causal else None
        features = self.transformer(features, attn_mask=mask)
        return features[torch.arange(count, device=features.device), end_positions]

    def _check_length(self, length: int) -> None:
        if length > self.context_length or (length < self.context_length and not self.causal_text):
            least = "at most" if self.causal_text else "exactly"
            raise BackboneError(
                f"the prompts are {length} tokens long, this backbone takes {least} {self.context_length}",
                remedy="use shorter class names or fewer context tokens"
                if length > self.context_length
                else "leave the padding in: without a causal mask every token matters",
            )
