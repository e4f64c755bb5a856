"""Where to compute."""

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
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"device is {str(device)!r}, not usable here ({reason}); expected auto, cpu, cuda or mps"
        ) from error
    return resolved
