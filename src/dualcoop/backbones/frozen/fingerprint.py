"""Identity of a backbone: a hash of everything that decides the numbers it gives."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

IGNORED_SUFFIXES = ("num_batches_tracked",)
SIGNIFICANT_DIGITS = 6

ACTIVATIONS = {
    "QuickGELU": "quick_gelu",
    "QuickGELUActivation": "quick_gelu",
    "GELU": "gelu",
    "GELUTanh": "gelu_tanh",
    "ReLU": "relu",
    "ReLU6": "relu6",
    "SiLU": "silu",
    "Swish": "silu",
}


def fingerprint(tensors: Mapping[str, Tensor], configuration: Mapping[str, object]) -> str:
    """SHA-256 over tensors and configuration.

    Floating point tensors are hashed as float32, so a checkpoint in half precision and its float32 copy
    agree; counters that no output depends on are left out. Floats of the configuration count to six
    significant digits, because the last ones depend on the platform's mathematical library.

    Args:
        tensors: weights and buffers by name; the order does not matter.
        configuration: what decides the numbers besides the tensors; must be serialisable as JSON.
    """
    digest = hashlib.sha256(json.dumps(_rounded(configuration), sort_keys=True, separators=(",", ":")).encode())
    for name in sorted(tensors):
        if name.endswith(IGNORED_SUFFIXES):
            continue
        tensor = tensors[name].detach().cpu()
        if tensor.is_floating_point():
            tensor = tensor.to(torch.float32)
        digest.update(f"\n{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.contiguous().reshape(-1).numpy().data)
    return digest.hexdigest()


def numerics(module: nn.Module) -> dict[str, Sequence[object]]:
    """Settings of the layers that no tensor holds: activations, epsilons and numbers of heads.

    They are read from the layers by value, not by class path, so that a new release of the library that
    defines them leaves the fingerprint as it is.
    """
    parts = list(module.modules())

    def found(name: str, kind: type) -> list[Any]:
        return sorted({value for part in parts if isinstance(value := getattr(part, name, None), kind)})

    activations = {
        "gelu_tanh" if getattr(part, "approximate", None) == "tanh" else ACTIVATIONS.get(type(part).__name__, "")
        for part in parts
    }
    return {
        "activations": sorted(activations - {""}),
        "epsilons": found("eps", float),
        "heads": found("num_heads", int),
    }


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    if isinstance(value, Mapping):
        return {str(key): _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return value
