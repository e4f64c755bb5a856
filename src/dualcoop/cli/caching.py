"""The cache that `train` and `evaluate` use."""

from pathlib import Path
from typing import TYPE_CHECKING

from dualcoop.cli.messages import warn
from dualcoop.cli.options import CacheOptions
from dualcoop.errors import ConfigError, Option

if TYPE_CHECKING:
    from dualcoop.cache import FeatureCache


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
    if options.cache_dir is not None:
        return FeatureCache(options.cache_dir, options.cache_size)
    try:
        return FeatureCache(default_folder(), options.cache_size)
    except ConfigError as error:
        warn(error)
        return None


def cache_folder(chosen: Path | None) -> Path:
    """The folder that was given, or the user's own."""
    from dualcoop.cache import default_folder

    return default_folder() if chosen is None else chosen.expanduser()
