"""Precision of the encoders."""

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from dualcoop.cli.options import Precision
from dualcoop.errors import ConfigError

if TYPE_CHECKING:
    import torch


def autocast(device: "torch.device", precision: Precision) -> AbstractContextManager[object]:
    """A context in which the encoders compute in `precision` on `device`.

    Raises:
        ConfigError: when the device cannot do so.
    """
    if precision is Precision.float32:
        return nullcontext()
    import torch

    try:
        return torch.autocast(device.type, torch.bfloat16)
    except RuntimeError as error:
        raise ConfigError(
            f"--precision bfloat16 does not work on {device.type} ({str(error).splitlines()[0]}). Leave it out."
        ) from error
