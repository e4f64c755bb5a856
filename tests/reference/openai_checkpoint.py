"""Tiny random CLIP ResNets in the format of OpenAI's downloads: names, shapes and both kinds of file."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

VOCABULARY = 49408
CONTEXT_LENGTH = 77
PRETRAINED_SIZE = 224
ATTENTION_WIDTH = 64


def random_state(
    *,
    seed: int = 0,
    vision_width: int = 8,
    blocks: Sequence[int] = (1, 2, 1, 1),
    embed_dim: int = 64,
    text_width: int = 64,
    text_layers: int = 2,
    image_size: int = PRETRAINED_SIZE,
) -> dict[str, Tensor]:
    """State dict of a CLIP ResNet, float32, with every tensor random, BatchNorm statistics included."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}

    def normal(name: str, *shape: int, std: float) -> None:
        state[name] = std * torch.randn(*shape, generator=generator)

    def uniform(name: str, *shape: int, low: float, high: float) -> None:
        state[name] = low + (high - low) * torch.rand(*shape, generator=generator)

    def convolution(name: str, channels_out: int, channels_in: int, kernel: int) -> None:
        fan_in = channels_in * kernel * kernel
        normal(f"{name}.weight", channels_out, channels_in, kernel, kernel, std=(2 / fan_in) ** 0.5)

    def batch_norm(name: str, channels: int) -> None:
        uniform(f"{name}.weight", channels, low=0.5, high=1.5)
        normal(f"{name}.bias", channels, std=0.3)
        normal(f"{name}.running_mean", channels, std=0.3)
        uniform(f"{name}.running_var", channels, low=0.5, high=2.0)
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    def linear(name: str, features_out: int, features_in: int) -> None:
        normal(f"{name}.weight", features_out, features_in, std=features_in**-0.5)
        normal(f"{name}.bias", features_out, std=0.1)

    def layer_norm(name: str, width: int) -> None:
        uniform(f"{name}.weight", width, low=0.5, high=1.5)
        normal(f"{name}.bias", width, std=0.2)

    half = vision_width // 2
    convolution("visual.conv1", half, 3, 3)
    batch_norm("visual.bn1", half)
    convolution("visual.conv2", half, half, 3)
    batch_norm("visual.bn2", half)
    convolution("visual.conv3", vision_width, half, 3)
    batch_norm("visual.bn3", vision_width)
    channels_in = vision_width
    for stage, count in enumerate(blocks, start=1):
        planes = vision_width * 2 ** (stage - 1)
        for index in range(count):
            block = f"visual.layer{stage}.{index}"
            convolution(f"{block}.conv1", planes, channels_in, 1)
            batch_norm(f"{block}.bn1", planes)
            convolution(f"{block}.conv2", planes, planes, 3)
            batch_norm(f"{block}.bn2", planes)
            convolution(f"{block}.conv3", 4 * planes, planes, 1)
            batch_norm(f"{block}.bn3", 4 * planes)
            if index == 0:
                convolution(f"{block}.downsample.0", 4 * planes, channels_in, 1)
                batch_norm(f"{block}.downsample.1", 4 * planes)
            channels_in = 4 * planes

    side = image_size // 32
    normal("visual.attnpool.positional_embedding", side * side + 1, channels_in, std=0.5)
    for projection in ("k_proj", "q_proj", "v_proj"):
        linear(f"visual.attnpool.{projection}", channels_in, channels_in)
    linear("visual.attnpool.c_proj", embed_dim, channels_in)

    normal("token_embedding.weight", VOCABULARY, text_width, std=0.3)
    normal("positional_embedding", CONTEXT_LENGTH, text_width, std=0.1)
    for layer in range(text_layers):
        block = f"transformer.resblocks.{layer}"
        normal(f"{block}.attn.in_proj_weight", 3 * text_width, text_width, std=text_width**-0.5)
        normal(f"{block}.attn.in_proj_bias", 3 * text_width, std=0.1)
        linear(f"{block}.attn.out_proj", text_width, text_width)
        layer_norm(f"{block}.ln_1", text_width)
        linear(f"{block}.mlp.c_fc", 4 * text_width, text_width)
        linear(f"{block}.mlp.c_proj", text_width, 4 * text_width)
        layer_norm(f"{block}.ln_2", text_width)
    layer_norm("ln_final", text_width)
    normal("text_projection", text_width, embed_dim, std=text_width**-0.5)
    state["logit_scale"] = torch.tensor(4.6052)
    state["input_resolution"] = torch.tensor(image_size)
    state["context_length"] = torch.tensor(CONTEXT_LENGTH)
    state["vocab_size"] = torch.tensor(VOCABULARY)
    return state


def half_precision(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As OpenAI stores it: convolutions, projections and attention weights in float16, the rest float32."""
    kept = (".bn", ".downsample.1", "ln_", "embedding", "logit_scale")
    return {
        name: value if any(part in name for part in kept) or not value.is_floating_point() else value.half()
        for name, value in state.items()
    }


def save_plain(state: dict[str, Tensor], path: Path) -> Path:
    """Write a state dict with torch.save."""
    torch.save(state, path)
    return path


def save_torchscript(state: dict[str, Tensor], path: Path) -> Path:
    """Write a TorchScript archive whose state dict is `state`."""
    root = _Node()
    for name, value in state.items():
        *parents, leaf = name.split(".")
        node = root
        for parent in parents:
            if parent not in dict(node.named_children()):
                node.add_module(parent, _Node())
            node = node.get_submodule(parent)
        if value.is_floating_point() and "running_" not in leaf:
            node.register_parameter(leaf, nn.Parameter(value, requires_grad=False))
        else:
            node.register_buffer(leaf, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.jit.save(torch.jit.script(root), str(path))
    return path


class _Node(nn.Module):
    """A place in the tree of names."""
