"""Checks of values that many options share."""

from dualcoop.errors import ConfigError


def check_whole(option: str, value: object, least: int) -> None:
    """Refuse what is no whole number, or too small a one.

    Raises:
        ConfigError: naming the option.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"is {value!r}, expected a whole number of at least {least}", option=option)
