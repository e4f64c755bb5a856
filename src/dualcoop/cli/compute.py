"""Precision of the encoders."""

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from dualcoop.cli.options import AutoPrecision
from dualcoop.errors import ConfigError
from dualcoop.options import Precision

if TYPE_CHECKING:
    import torch


def resolved(device: "torch.device", precision: AutoPrecision) -> Precision:
    """The precision that "auto" stands for on a device: bfloat16 where the hardware multiplies it."""
    if precision != "auto":
        return precision
    from dualcoop.devices import fast_bfloat16

    return "bfloat16" if fast_bfloat16(device) else "float32"


def autocast(device: "torch.device", precision: AutoPrecision) -> AbstractContextManager[object]:
    """A context in which the encoders compute in `precision` on `device`.

    Raises:
        ConfigError: when the device cannot do so.
    """
    if resolved(device, precision) == "float32":
        return nullcontext()
    import torch

    try:
        return torch.autocast(device.type, torch.bfloat16)
    except RuntimeError as error:
        what = f"bfloat16 does not work on {device.type} ({str(error).splitlines()[0]})"
        raise ConfigError(what, option="precision", remedy="leave it out") from error
