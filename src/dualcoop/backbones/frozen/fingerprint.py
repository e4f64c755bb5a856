"""Identity of a backbone: a hash of everything that decides the numbers it gives."""

import hashlib
import json
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

IGNORED_SUFFIXES = ("num_batches_tracked",)
SIGNIFICANT_DIGITS = 6

ACTIVATIONS = {
    "QuickGELU": "quick_gelu",
    "QuickGELUActivation": "quick_gelu",
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

    Returns:
        64 hexadecimal digits, equal in every process and on every device.
    """
    digest = hashlib.sha256()
    rounded = _rounded(configuration)
    digest.update(json.dumps(rounded, sort_keys=True, separators=(",", ":")).encode())
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
    activations: set[str] = set()
    epsilons: set[float] = set()
    heads: set[int] = set()
    for part in module.modules():
        kind = type(part).__name__
        if kind == "GELU":
            activations.add("gelu_tanh" if getattr(part, "approximate", "none") == "tanh" else "gelu")
        elif kind in ACTIVATIONS:
            activations.add(ACTIVATIONS[kind])
        epsilon = getattr(part, "eps", None)
        if isinstance(epsilon, float):
            epsilons.add(epsilon)
        count = getattr(part, "num_heads", None)
        if isinstance(count, int):
            heads.add(count)
    return {"activations": sorted(activations), "epsilons": sorted(epsilons), "heads": sorted(heads)}


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
    if isinstance(value, Mapping):
        return {str(key): _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return value
