"""DualCoOp on a CLIP ResNet in OpenAI's format, from the formulas, with loops and without any cleverness.

It imports torch alone, so that it shares no code with the library or with open_clip. The text tower runs all
77 tokens of every prompt; the loss is added up pair by pair.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

START, END, PADDING = 49406, 49407, 0
CONTEXT_LENGTH = 77
HEAD_WIDTH = 64

State = Mapping[str, Tensor]


class Logits(NamedTuple):
    """Positive and negative logits, each (B, M)."""

    positive: Tensor
    negative: Tensor


def unit(vectors: Tensor) -> Tensor:
    return vectors / (vectors * vectors).sum(dim=-1, keepdim=True).sqrt()


def linear(state: State, name: str, x: Tensor) -> Tensor:
    return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]


def layer_norm(state: State, name: str, x: Tensor) -> Tensor:
    mean = x.mean(dim=-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(dim=-1, keepdim=True)
    return (x - mean) / (variance + 1e-5).sqrt() * state[f"{name}.weight"] + state[f"{name}.bias"]


def batch_norm(state: State, name: str, x: Tensor) -> Tensor:
    def channels(key: str) -> Tensor:
        return state[f"{name}.{key}"][None, :, None, None]

    scaled = (x - channels("running_mean")) / (channels("running_var") + 1e-5).sqrt()
    return scaled * channels("weight") + channels("bias")


def convolution(state: State, name: str, x: Tensor, *, stride: int = 1, padding: int = 0) -> Tensor:
    return torch.conv2d(x, state[f"{name}.weight"], stride=stride, padding=padding)


def feature_map(state: State, images: Tensor) -> Tensor:
    """CLIP's ResNet up to the attention pooling: three stem layers, average pooling instead of strides."""
    x = convolution(state, "visual.conv1", images, stride=2, padding=1)
    x = torch.relu(batch_norm(state, "visual.bn1", x))
    x = torch.relu(batch_norm(state, "visual.bn2", convolution(state, "visual.conv2", x, padding=1)))
    x = torch.relu(batch_norm(state, "visual.bn3", convolution(state, "visual.conv3", x, padding=1)))
    x = torch.nn.functional.avg_pool2d(x, 2)
    for stage in (1, 2, 3, 4):
        index = 0
        while f"visual.layer{stage}.{index}.conv1.weight" in state:
            x = bottleneck(state, f"visual.layer{stage}.{index}", x, 2 if stage > 1 and index == 0 else 1)
            index += 1
    return x


def bottleneck(state: State, name: str, x: Tensor, stride: int) -> Tensor:
    y = torch.relu(batch_norm(state, f"{name}.bn1", convolution(state, f"{name}.conv1", x)))
    y = torch.relu(batch_norm(state, f"{name}.bn2", convolution(state, f"{name}.conv2", y, padding=1)))
    if stride > 1:
        y = torch.nn.functional.avg_pool2d(y, stride)
    y = batch_norm(state, f"{name}.bn3", convolution(state, f"{name}.conv3", y))
    if f"{name}.downsample.0.weight" in state:
        if stride > 1:
            x = torch.nn.functional.avg_pool2d(x, stride)
        x = batch_norm(state, f"{name}.downsample.1", convolution(state, f"{name}.downsample.0", x))
    return torch.relu(x + y)


def positions(state: State, rows: int, columns: int) -> Tensor:
    """Positional embedding of the mean token and of each position, interpolated bicubically."""
    own = state["visual.attnpool.positional_embedding"]
    side = math.isqrt(own.shape[0] - 1)
    grid = own[1:].reshape(side, side, -1).permute(2, 0, 1)[None]
    grid = torch.nn.functional.interpolate(grid, size=(rows, columns), mode="bicubic", align_corners=False)
    return torch.cat([own[:1], grid[0].permute(1, 2, 0).reshape(rows * columns, -1)])


def tokens_with_mean(state: State, features: Tensor) -> Tensor:
    """(B, C, rows, columns) to (B, 1 + rows * columns, C): the mean first, positions added."""
    rows, columns = features.shape[-2:]
    places = [features[:, :, row, column] for row in range(rows) for column in range(columns)]
    mean = torch.stack(places).mean(dim=0)
    return torch.stack([mean, *places], dim=1) + positions(state, rows, columns)


def region_features(state: State, images: Tensor) -> Tensor:
    """Eq. 4: value and output projection at the mean and at every position, (B, 1 + rows * columns, D)."""
    tokens = tokens_with_mean(state, feature_map(state, images))
    values = linear(state, "visual.attnpool.v_proj", tokens)
    return unit(linear(state, "visual.attnpool.c_proj", values))


def pooled_features(state: State, images: Tensor) -> Tensor:
    """CLIP's attention pooling at its own size: the mean token asks, everything answers."""
    tokens = tokens_with_mean(state, feature_map(state, images))
    query = linear(state, "visual.attnpool.q_proj", tokens[:, :1])
    keys = linear(state, "visual.attnpool.k_proj", tokens)
    values = linear(state, "visual.attnpool.v_proj", tokens)
    mixed = []
    for start in range(0, tokens.shape[-1], HEAD_WIDTH):
        head = slice(start, start + HEAD_WIDTH)
        scores = query[..., head] @ keys[..., head].transpose(1, 2) / math.sqrt(HEAD_WIDTH)
        mixed.append(torch.softmax(scores, dim=-1) @ values[..., head])
    return unit(linear(state, "visual.attnpool.c_proj", torch.cat(mixed, dim=-1)[:, 0]))


def prompt_embeddings(state: State, names: Sequence[Sequence[int]], context: Tensor) -> tuple[Tensor, list[int]]:
    """[SOS] V1..VN name . [EOS], padded to 77 tokens, and the index of [EOS] in each (Eq. 1 and 2).

    Args:
        state: for the word embeddings.
        names: token ids of "name." per class, without start and end token.
        context: (N, W) for all classes or (M, N, W).
    """
    table = state["token_embedding.weight"]
    rows, ends = [], []
    for index, name in enumerate(names):
        vectors = context if context.dim() == 2 else context[index]
        behind = [*name, END]
        padding = CONTEXT_LENGTH - 1 - len(vectors) - len(behind)
        words = table[torch.tensor([*behind, *[PADDING] * padding])]
        rows.append(torch.cat([table[START][None], vectors, words]))
        ends.append(len(vectors) + len(behind))
    return torch.stack(rows), ends


def text_features(state: State, prompts: Tensor, ends: Sequence[int]) -> Tensor:
    """CLIP's text transformer over all 77 tokens, read at the end token: (M, 77, W) to (M, D)."""
    x = prompts + state["positional_embedding"]
    later = torch.ones(CONTEXT_LENGTH, CONTEXT_LENGTH, dtype=torch.bool).triu(1)
    layer = 0
    while f"transformer.resblocks.{layer}.ln_1.weight" in state:
        name = f"transformer.resblocks.{layer}"
        y = layer_norm(state, f"{name}.ln_1", x)
        qkv = y @ state[f"{name}.attn.in_proj_weight"].T + state[f"{name}.attn.in_proj_bias"]
        query, key, value = qkv.chunk(3, dim=-1)
        mixed = []
        for start in range(0, y.shape[-1], HEAD_WIDTH):
            head = slice(start, start + HEAD_WIDTH)
            scores = query[..., head] @ key[..., head].transpose(1, 2) / math.sqrt(HEAD_WIDTH)
            scores = scores.masked_fill(later, float("-inf"))
            mixed.append(torch.softmax(scores, dim=-1) @ value[..., head])
        x = x + linear(state, f"{name}.attn.out_proj", torch.cat(mixed, dim=-1))
        y = linear(state, f"{name}.mlp.c_fc", layer_norm(state, f"{name}.ln_2", x))
        x = x + linear(state, f"{name}.mlp.c_proj", y * torch.sigmoid(1.702 * y))
        layer += 1
    x = layer_norm(state, "ln_final", x)
    read = torch.stack([x[index, end] for index, end in enumerate(ends)])
    return unit(read @ state["text_projection"])


def head(regions: Tensor, positive: Tensor, negative: Tensor) -> Logits:
    """Eq. 5 and 6 with the published constants: 20 inside the softmax over regions, 5 outside."""
    rows_positive, rows_negative = [], []
    for image in regions:
        columns_positive, columns_negative = [], []
        for up, down in zip(positive, negative, strict=True):
            similar_up, similar_down = 20 * image @ up, 20 * image @ down
            weights = torch.softmax(similar_up, dim=0)
            columns_positive.append(5 * (weights * similar_up).sum())
            columns_negative.append(5 * (weights * similar_down).sum())
        rows_positive.append(torch.stack(columns_positive))
        rows_negative.append(torch.stack(columns_negative))
    return Logits(torch.stack(rows_positive), torch.stack(rows_negative))


def loss(logits: Logits, labels: Tensor) -> Tensor:
    """Eq. 7 and 8, summed over the known pairs: gamma+ 1, gamma- 2, margin 0.05, detached focal weights."""
    total = torch.zeros((), dtype=logits.positive.dtype)
    for image in range(labels.shape[0]):
        for label in range(labels.shape[1]):
            pair = torch.stack([logits.negative[image, label], logits.positive[image, label]])
            probability = torch.softmax(pair, dim=0)[1]
            if labels[image, label] == 1:
                weight = (1 - probability).detach()
                total = total - weight * torch.log(torch.clamp(probability, min=1e-6))
            elif labels[image, label] == -1:
                absent = torch.clamp(1 - probability + 0.05, max=1.0)
                weight = ((1 - absent) ** 2).detach()
                total = total - weight * torch.log(torch.clamp(absent, min=1e-6))
    return total
