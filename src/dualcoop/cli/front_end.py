"""How the command line speaks: the options of the command that runs, as one types them."""

import shlex
from collections.abc import Iterable
from typing import Any

from dualcoop.errors import UNSET, Message, Option, in_any_case


class ShellFrontEnd:
    """Options as flags: `--views 0`, `--no-residual`; arguments by what stands for them in the help: `TABLE`.

    The command's parameters have the names of the library's options; other options it cannot express.
    """

    name = "shell"

    def __init__(self) -> None:
        self._parameters: dict[str, Any] = {}

    def speak_for(self, parameters: Iterable[Any]) -> None:
        """Take the parameters of a click command for what can be said from now on."""
        self._parameters = {str(parameter.name): parameter for parameter in parameters}

    def spelled(self, option: Option) -> str | None:
        """The option as it is typed; None where the command lacks it, or has no way to give it this value."""
        parameter = self._parameters.get(option.name)
        if parameter is None or option.value is None:
            return None
        value = option.value
        if parameter.param_type_name == "argument":
            return str(parameter.metavar or parameter.name).upper() if value is UNSET else _typed(value)
        flag = _long(parameter.opts)
        if value is UNSET or value is True:
            return flag
        if value is False:
            return _long(parameter.secondary_opts)
        values = value if isinstance(value, list | tuple) else [value]
        return " ".join(f"{flag} {_typed(each)}" for each in values)


def _typed(value: object) -> str:
    return shlex.quote(f"{value:g}" if isinstance(value, float) else str(value))


def _long(flags: list[str]) -> str | None:
    return next((flag for flag in flags if flag.startswith("--")), None)


SHELL = ShellFrontEnd()
"""Speaks for the command that this process runs."""


def in_words(said: Any) -> str:
    """A text, or what has a `Message`: an error, a warning, a problem of the data."""
    message = getattr(said, "message", said)
    if isinstance(message, Message):
        return message.rendered(SHELL)
    return in_any_case(message if isinstance(message, str | Option | tuple) else str(message), SHELL)
