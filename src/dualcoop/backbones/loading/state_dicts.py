"""Weights from local files: OpenAI's formats and open_clip's, read without running anything they contain."""

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from open_clip import CustomTextCLIP
from open_clip.convert import convert_state_dict
from open_clip.model import convert_to_custom_text_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from dualcoop.backbones.loading.names import first_line, with_file
from dualcoop.errors import AnyOf, BackboneError

# Scalars in OpenAI's archives; they say where a file comes from and carry no weights.
OPENAI_MARKS = ("input_resolution", "context_length", "vocab_size")
HEAD_WIDTH = 64
LONGEST_REASON = 400


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors of a checkpoint file by name, floating point ones as float32.

    Read are safetensors, TorchScript archives (OpenAI's downloads), and plain or wrapped state dicts as
    written by `torch.save` (loaded with `weights_only=True`). A "state_dict" key and the "module." prefix of
    open_clip's training checkpoints are taken off.

    Raises:
        BackboneError: when the file cannot be read or holds no tensors.
    """
    if not path.is_file():
        raise BackboneError("there is no such checkpoint file", where=str(path))
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        elif _is_torchscript(path):
            with warnings.catch_warnings():
                # OpenAI's files stay what they are, whatever becomes of TorchScript.
                warnings.simplefilter("ignore", FutureWarning)
                content = torch.jit.load(str(path), map_location="cpu").state_dict()
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, SafetensorError, pickle.UnpicklingError) as error:
        raise BackboneError(
            f"cannot be read as model weights ({first_line(error)}); expected a CLIP checkpoint: safetensors, a state "
            "dict saved by torch.save, or OpenAI's TorchScript archive",
            where=str(path),
        ) from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    named = content.items() if isinstance(content, Mapping) else ()
    tensors = {str(name): value for name, value in named if isinstance(value, Tensor)}
    if not tensors:
        raise BackboneError("holds no tensors; expected the state dict of a CLIP model", where=str(path))
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return {name: value.to(torch.float32) if value.is_floating_point() else value for name, value in tensors.items()}


def is_openai(state: Mapping[str, Tensor]) -> bool:
    """The tensors come from one of OpenAI's own files (QuickGELU activations)."""
    return any(mark in state for mark in OPENAI_MARKS)


def infer_model_config(state: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """The open_clip model config that fits the tensors of a CLIP ResNet or vision transformer.

    Raises:
        BackboneError: when the tensors are of another kind, or leave the activation open: plain vision
            transformers exist with QuickGELU (OpenAI) and with GELU, and no tensor tells them apart. All
            published CLIP ResNets use QuickGELU.
    """
    text = "text." if "text.positional_embedding" in state else ""
    needed = ["visual.conv1.weight", f"{text}text_projection", f"{text}positional_embedding"]
    needed += [f"{text}token_embedding.weight", f"{text}ln_final.weight"]
    missing = [name for name in needed if name not in state]
    if missing:
        raise BackboneError(
            f"the architecture cannot be read off the tensors ({', '.join(missing)} missing)",
            where=str(path),
            remedy=("say which model it is, for example ", with_file("ViT-B-16-SigLIP", str(path))),
        )
    if "visual.layer1.0.conv1.weight" in state:
        vision = _resnet_config(state, path)
    elif "visual.proj" in state:
        if not is_openai(state):
            known = [with_file(f"ViT-B-32/{tag}", str(path)) for tag in ("openai", "laion2b_s34b_b79k")]
            raise BackboneError(
                "does not say which activation its vision transformer was trained with",
                where=str(path),
                remedy=("name the model and its training, as in ", AnyOf(*known)),
            )
        vision = _vit_config(state)
    else:
        raise BackboneError(
            "is neither a CLIP ResNet nor a CLIP vision transformer",
            where=str(path),
            remedy=("say which model it is, for example ", with_file("MobileCLIP-S1", str(path))),
        )
    width = state[f"{text}ln_final.weight"].shape[0]
    return {
        "embed_dim": state[f"{text}text_projection"].shape[1],
        "quick_gelu": True,
        "vision_cfg": vision,
        "text_cfg": {
            "context_length": state[f"{text}positional_embedding"].shape[0],
            "vocab_size": state[f"{text}token_embedding.weight"].shape[0],
            "width": width,
            "heads": max(1, width // HEAD_WIDTH),
            "layers": _count(state, f"{text}transformer.resblocks."),
        },
    }


def load_into(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Copy tensors of a source into an open_clip model, translating the layouts that open_clip knows.

    Raises:
        BackboneError: when names or shapes do not fit the architecture.
    """
    tensors = {name: value for name, value in state.items() if name not in OPENAI_MARKS}
    tensors = dict(convert_state_dict(model, tensors))
    # open_clip names text tensors with or without "text.", depending on the class that saved them.
    if isinstance(model, CustomTextCLIP):
        tensors = convert_to_custom_text_state_dict(tensors)
    else:
        tensors = {name.removeprefix("text."): value for name, value in tensors.items()}
    for name in ("logit_scale", "logit_bias"):
        parameter = getattr(model, name, None)
        if parameter is None:
            tensors.pop(name, None)
        elif name in tensors:
            tensors[name] = tensors[name].reshape(parameter.shape)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = shorten(str(error), LONGEST_REASON, placeholder=" and more")
        raise BackboneError(
            f"the weights do not fit the architecture ({reason})",
            where=source,
            remedy="check that the model name belongs to this file",
        ) from error


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _resnet_config(state: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    positions = state["visual.attnpool.positional_embedding"].shape[0]
    side = round((positions - 1) ** 0.5)
    if side**2 + 1 != positions:
        raise BackboneError(
            f"has {positions} positions in its attention pooling, expected a square number plus one", where=str(path)
        )
    return {
        "layers": [_count(state, f"visual.layer{stage}.") for stage in (1, 2, 3, 4)],
        "width": state["visual.layer1.0.conv1.weight"].shape[0],
        "image_size": side * 32,
        "patch_size": None,
        "head_width": HEAD_WIDTH,
    }


def _vit_config(state: Mapping[str, Tensor]) -> dict[str, Any]:
    width, _, patch, _ = state["visual.conv1.weight"].shape
    side = round((state["visual.positional_embedding"].shape[0] - 1) ** 0.5)
    return {
        "layers": _count(state, "visual.transformer.resblocks."),
        "width": width,
        "patch_size": patch,
        "image_size": side * patch,
        "head_width": min(HEAD_WIDTH, width),
    }


def _count(state: Mapping[str, Tensor], prefix: str) -> int:
    """Number of blocks under a prefix."""
    return len({name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)})
