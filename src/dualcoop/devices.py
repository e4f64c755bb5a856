"""Where to compute, and in which precision that is fast."""

import platform

import torch

from dualcoop.errors import ConfigError


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """The device of a name; "auto" takes CUDA, then Apple's MPS, then the CPU.

    Raises:
        ConfigError: for a name that is no device, or a device that this machine does not offer.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        torch.empty(0, device=resolved)
    except (RuntimeError, AssertionError, TypeError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        what = f"is {str(device)!r}, not usable here ({reason}); expected auto, cpu, cuda or mps"
        raise ConfigError(what, option="device") from error
    return resolved


def fast_bfloat16(device: torch.device) -> bool:
    """Whether the hardware multiplies bfloat16, which is then much faster than float32; CUDA and CPUs only."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    # Private, but the only names torch has for it; absent on some builds. On x86 oneDNN also says yes where it
    # has to emulate.
    if platform.machine().lower() in ("x86_64", "amd64"):
        native = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    else:
        native = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return native is not None and bool(native())
