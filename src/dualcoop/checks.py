"""Checks of values that many options share."""

from collections.abc import Iterable

from dualcoop.errors import ConfigError


def check_whole(option: str, value: object, least: int) -> None:
    """Refuse what is no whole number, or too small a one.

    Raises:
        ConfigError: naming the option.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"is {value!r}, expected a whole number of at least {least}", option=option)


def check_choice(option: str, value: object, choices: Iterable[str]) -> None:
    """Refuse what is none of the choices.

    Raises:
        ConfigError: naming the option and the choices.
    """
    if value not in (choices := tuple(choices)):
        raise ConfigError(f"is {value!r}, expected one of {', '.join(choices)}", option=option)
