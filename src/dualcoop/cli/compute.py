"""Precision of the encoders, and the cache of what they compute."""

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from dualcoop.cli.messages import warn
from dualcoop.cli.options import AutoPrecision, CacheOptions
from dualcoop.errors import ConfigError, Option
from dualcoop.options import Precision

if TYPE_CHECKING:
    import torch

    from dualcoop.cache import FeatureCache


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


def open_cache(options: CacheOptions) -> "FeatureCache | None":
    """The cache that was asked for, or the user's own; None without one.

    Where nothing can be written to the user's own, that is said and the command goes on.

    Raises:
        ConfigError: when the folder that was asked for cannot be written to, or one is asked for and none.
    """
    from dualcoop.cache import FeatureCache, default_folder

    if options.no_cache:
        if options.cache_dir is not None:
            what = ("names a folder for region features and ", Option("no_cache"), " keeps none")
            raise ConfigError(what, option="cache_dir", remedy="choose one")
        return None
    try:
        return FeatureCache(options.cache_dir or default_folder(), options.cache_size)
    except ConfigError as error:
        if options.cache_dir is not None:
            raise
        warn(error)
        return None
