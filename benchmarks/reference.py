"""The published procedure, written plainly: one training step as the authors' program goes about it.

It computes the same loss and the same gradients of the contexts as this library and spends more on them. It

- encodes the frozen images in every step, in float32, and the pooling layer's attention, which nobody reads;
- runs all 77 tokens of every prompt, shared contexts anew for every class;
- keeps the gradients of all weights of the text tower, which add up and are never used.

Written from such facts about the program (docs/paper-map.md) and the paper's equations; the modules are open_clip's.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.timing import Stages, Stopwatch
from dualcoop.backbones.base import Backbone

SPATIAL_SCALE, OUTER_SCALE = 20.0, 5.0
GAMMA_POSITIVE, GAMMA_NEGATIVE, MARGIN, LOG_FLOOR = 1, 2, 0.05, 1e-6
MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4
PLACEHOLDER = "X"


class PublishedPrompts(nn.Module):
    """`[SOS] V1..VN name . [EOS]` and padding, 77 tokens for every class (Eq. 1 or 2).

    Args:
        backbone: tokenizer and word embeddings.
        classes: M names.
        context: (M, N, W), or (N, W) shared by all: its first value.
    """

    before: Tensor
    behind: Tensor
    ends: Tensor

    def __init__(self, backbone: Backbone, classes: Sequence[str], context: Tensor) -> None:
        super().__init__()
        count = context.shape[-2]
        placeholders = " ".join([PLACEHOLDER] * count)
        tokens = backbone.tokenize([f"{placeholders} {name.replace('_', ' ')}." for name in classes])
        embeddings = backbone.embed_tokens(tokens).detach()
        self.context = nn.Parameter(context.detach().clone())
        self.register_buffer("before", embeddings[:, :1])
        self.register_buffer("behind", embeddings[:, 1 + count :])
        self.register_buffer("ends", backbone.end_positions(tokens))

    def forward(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings (K, 77, W) and end positions (K,) of the classes `chosen`, (K,), int64."""
        shared = self.context.dim() == 2
        context = self.context.expand(len(chosen), -1, -1) if shared else self.context[chosen]
        return torch.cat([self.before[chosen], context, self.behind[chosen]], dim=1), self.ends[chosen]


def text_features(tower: Any, embeddings: Tensor, ends: Tensor) -> Tensor:
    """Text features (K, D), L2-normalised, by all tokens of (K, 77, W).

    Args:
        tower: open_clip's CLIP, or anything with its text tower under the same names.
        embeddings: prompts without positions.
        ends: (K,), index of the end tokens.
    """
    length = embeddings.shape[1]
    mask = torch.full((length, length), float("-inf"), device=embeddings.device).triu(1)
    states = tower.transformer(embeddings + tower.positional_embedding, attn_mask=mask)
    states = tower.ln_final(states)
    pooled = states[torch.arange(len(states), device=states.device), ends]
    return functional.normalize(pooled @ tower.text_projection, dim=-1)


def region_features(visual: Any, pixels: Tensor) -> Tensor:
    """Region features (B, 1 + rows * columns, D), L2-normalised, of pixels (B, 3, S, S) (Eq. 4).

    Args:
        visual: open_clip's ModifiedResNet.
        pixels: preprocessed.
    """
    pool = visual.attnpool
    features = visual.stem(pixels)
    for stage in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
        features = stage(features)
    rows, columns = features.shape[-2:]
    tokens = features.flatten(2).transpose(1, 2)
    tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1)
    tokens = tokens + _positions(pool.positional_embedding, rows, columns)
    _attention_pooling(pool, tokens)
    return functional.normalize(pool.c_proj(pool.v_proj(tokens)), dim=-1)


def dual_logits(regions: Tensor, positive: Tensor, negative: Tensor) -> tuple[Tensor, Tensor]:
    """Positive and negative logits, each (B, K) (Eq. 5 and 6)."""
    similar_positive = SPATIAL_SCALE * regions @ positive.T
    similar_negative = SPATIAL_SCALE * regions @ negative.T
    weights = similar_positive.softmax(dim=1)
    logits_positive = OUTER_SCALE * (weights * similar_positive).sum(dim=1)
    logits_negative = OUTER_SCALE * (weights * similar_negative).sum(dim=1)
    return logits_positive, logits_negative


def asymmetric_loss(positive: Tensor, negative: Tensor, labels: Tensor) -> Tensor:
    """Sum over the known pairs (Eq. 7 and 8); labels (B, K): +1, -1, 0 unknown."""
    present_probability = torch.stack([negative, positive]).softmax(dim=0)[1]
    absent_probability = (1 - present_probability + MARGIN).clamp(max=1)
    present, absent = labels > 0, labels < 0
    logs = present * present_probability.clamp(min=LOG_FLOOR).log()
    logs = logs + absent * absent_probability.clamp(min=LOG_FLOOR).log()
    with torch.no_grad():
        weights = present * (1 - present_probability) ** GAMMA_POSITIVE
        weights = weights + absent * (1 - absent_probability) ** GAMMA_NEGATIVE
    return -(weights * logs).sum()


class PublishedStep:
    """A training step on the same pixels each time: contexts and momentum change, the work does not.

    Args:
        clip: open_clip's CLIP with a ResNet; all its weights get gradients, none changes.
        prompts: positive and negative.
        pixels: (B, 3, S, S), augmented already.
        labels: (B, M).
        loss_weight: factor of the loss.
        learning_rate: of SGD.
        class_sample: K classes drawn for each step; None takes all M.

    Attributes:
        loss: of the latest step, with its weight.
    """

    def __init__(
        self,
        clip: Any,
        prompts: tuple[PublishedPrompts, PublishedPrompts],
        pixels: Tensor,
        labels: Tensor,
        *,
        loss_weight: float,
        learning_rate: float,
        class_sample: int | None = None,
    ) -> None:
        self.clip = clip.requires_grad_(True).eval()
        self.prompts = prompts
        self.loss = float("nan")
        self._pixels = pixels
        self._labels = labels
        self._loss_weight = loss_weight
        self._class_sample = class_sample
        self._optimizer = torch.optim.SGD(
            [each.context for each in prompts], lr=learning_rate, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
        )

    def __call__(self) -> Stages:
        """One step; the seconds of its stages."""
        watch = Stopwatch(self._pixels.device)
        classes = torch.arange(self._labels.shape[1], device=self._pixels.device)
        if self._class_sample is not None:
            classes = torch.randperm(len(classes), device=classes.device)[: self._class_sample]
        with watch("images"), torch.no_grad():
            regions = region_features(self.clip.visual, self._pixels)
        with watch("text"):
            positive, negative = (text_features(self.clip, *each(classes)) for each in self.prompts)
        with watch("head"):
            logits = dual_logits(regions, positive, negative)
        with watch("backward"):
            loss = self._loss_weight * asymmetric_loss(*logits, self._labels[:, classes])
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
            self.loss = loss.item()
        return watch.seconds


def _positions(own: Tensor, rows: int, columns: int) -> Tensor:
    """Positional embedding of the mean and of every position, interpolated bicubically: (1 + rows * columns, C)."""
    side = round((len(own) - 1) ** 0.5)
    grid = own[1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    grid = functional.interpolate(grid, size=(rows, columns), mode="bicubic", align_corners=False)
    return torch.cat([own[:1], grid[0].flatten(1).T])


def _attention_pooling(pool: Any, tokens: Tensor) -> Tensor:
    """CLIP's image vector (B, D), of the mean's attention to all tokens (B, T, C): computed, and not used."""
    by_position = tokens.transpose(0, 1)
    pooled, _ = functional.multi_head_attention_forward(
        query=by_position[:1],
        key=by_position,
        value=by_position,
        embed_dim_to_check=tokens.shape[-1],
        num_heads=pool.num_heads,
        q_proj_weight=pool.q_proj.weight,
        k_proj_weight=pool.k_proj.weight,
        v_proj_weight=pool.v_proj.weight,
        in_proj_weight=None,
        in_proj_bias=torch.cat([pool.q_proj.bias, pool.k_proj.bias, pool.v_proj.bias]),
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0.0,
        out_proj_weight=pool.c_proj.weight,
        out_proj_bias=pool.c_proj.bias,
        use_separate_proj_weight=True,
        training=False,
        need_weights=False,
    )
    return pooled[0]
