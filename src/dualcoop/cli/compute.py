"""Precision of the encoders."""

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from dualcoop.cli.options import Precision
from dualcoop.errors import ConfigError

if TYPE_CHECKING:
    import torch


def resolved(device: "torch.device", precision: Precision) -> Precision:
    """The precision that "auto" stands for on a device: bfloat16 where the hardware multiplies it."""
    if precision is not Precision.auto:
        return precision
    from dualcoop.devices import fast_bfloat16

    return Precision.bfloat16 if fast_bfloat16(device) else Precision.float32


def autocast(device: "torch.device", precision: Precision) -> AbstractContextManager[object]:
    """A context in which the encoders compute in `precision` on `device`.

    Raises:
        ConfigError: when the device cannot do so.
    """
    if resolved(device, precision) is Precision.float32:
        return nullcontext()
    import torch

    try:
        return torch.autocast(device.type, torch.bfloat16)
    except RuntimeError as error:
        raise ConfigError(
            f"--precision bfloat16 does not work on {device.type} ({str(error).splitlines()[0]}). Leave it out."
        ) from error
