"""Errors and warnings that a user can mend: what is wrong, where, which option, and what to do about it, as data.

Every front end renders them in its own words: `str(error)` speaks Python, the command line spells options as it calls
them, a web page can mark the field that is wrong.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, TypeAlias, Union


class _Unset(Enum):
    UNSET = "unset"


UNSET = _Unset.UNSET
"""The value of an option that is only named."""


@dataclass(frozen=True)
class Option:
    """An option by its name in Python, with a value where one is proposed."""

    name: str
    value: Any = UNSET


@dataclass(frozen=True)
class Only:
    """Words for one front end alone, "python", "shell" or "page"; the others leave them out."""

    front_end: str
    text: "Text"


@dataclass(frozen=True)
class AnyOf:
    """Alternatives, the best first; those that a front end cannot express are left out."""

    alternatives: tuple["Text", ...]

    def __init__(self, *alternatives: "Text") -> None:
        object.__setattr__(self, "alternatives", alternatives)


Text: TypeAlias = Union[str, Option, Only, AnyOf, "Message", tuple["Text", ...]]
"""Words, or words with options or whole messages among them."""


class FrontEnd(Protocol):
    """How one way to use the package speaks.

    Attributes:
        name: "python", "shell" or "page".
    """

    name: str

    def spelled(self, option: Option) -> str | None:
        """An option as it is given here; None where there is no such option."""


class PythonFrontEnd:
    """Options as keyword arguments: `views=0`."""

    name = "python"

    def spelled(self, option: Option) -> str:
        """The name, and the value as Python writes it."""
        return option.name if option.value is UNSET else f"{option.name}={option.value!r}"


PYTHON = PythonFrontEnd()


@dataclass(frozen=True)
class Message:
    """What is wrong and what to do.

    Attributes:
        what: is wrong and was expected; begins with a verb where `option` is given.
        where: file, row, class or image that it is about.
        option: name of the option that is wrong.
        remedy: what to do, without a full stop.
    """

    what: Text
    where: str | None = None
    option: str | None = None
    remedy: Text | None = None

    def rendered(self, front_end: FrontEnd) -> str:
        """The message in the words of a front end."""
        place = f"{self.where}: " if self.where else ""
        subject = ""
        if self.option is not None:
            subject = f"{front_end.spelled(Option(self.option)) or self.option} "
        said = place + subject + in_any_case(self.what, front_end)
        remedy = None if self.remedy is None else rendered(self.remedy, front_end)
        if not remedy:
            return said
        return f"{said.removesuffix('.')}. {remedy[0].upper()}{remedy[1:].removesuffix('.')}."


def rendered(text: Text, front_end: FrontEnd) -> str | None:
    """Words of a front end; None when it cannot say this, since it lacks an option that the text needs."""
    if isinstance(text, str):
        return text
    if isinstance(text, Option):
        return front_end.spelled(text)
    if isinstance(text, Message):
        return text.rendered(front_end)
    if isinstance(text, Only):
        return rendered(text.text, front_end) if text.front_end == front_end.name else ""
    if isinstance(text, AnyOf):
        return _listed([words for each in text.alternatives if (words := rendered(each, front_end))])
    parts = [rendered(part, front_end) for part in text]
    return None if None in parts else "".join(part for part in parts if part is not None)


class _Naming:
    """Speaks as another front end, and names the options that it lacks."""

    def __init__(self, front_end: FrontEnd) -> None:
        self.name = front_end.name
        self._front_end = front_end

    def spelled(self, option: Option) -> str:
        return self._front_end.spelled(option) or PYTHON.spelled(option)


def in_any_case(text: Text, front_end: FrontEnd) -> str:
    """Words of a front end; an option that it lacks is said as in Python, so that nothing is left unsaid."""
    words = rendered(text, front_end)
    return (rendered(text, _Naming(front_end)) or "") if words is None else words


def _listed(alternatives: list[str]) -> str | None:
    if len(alternatives) < 2:
        return alternatives[0] if alternatives else None
    return f"{', '.join(alternatives[:-1])} or {alternatives[-1]}"


class _Explained(Exception):  # noqa: N818 (errors and warnings end in their own words)
    """What errors and warnings share."""

    message: Message

    def __init__(
        self, what: Text, *, where: str | None = None, option: str | None = None, remedy: Text | None = None
    ) -> None:
        super().__init__(what)
        self.message = Message(what, where, option, remedy)

    def __str__(self) -> str:
        return self.message.rendered(PYTHON)

    def __reduce__(self) -> tuple[Any, ...]:
        message = self.message
        return _restored, (type(self), message.what, message.where, message.option, message.remedy)


def _restored(kind: type["_Explained"], what: Text, where: str | None, option: str | None, remedy: Text | None) -> Any:
    return kind(what, where=where, option=option, remedy=remedy)


class DualCoOpError(_Explained):
    """Base of every error raised on purpose by this package."""


class DualCoOpWarning(_Explained, UserWarning):
    """Base of every warning of this package."""


class DataError(DualCoOpError):
    """A label table, an image file, a mask or a split cannot be used as it is."""


class BackboneError(DualCoOpError):
    """A backbone is unknown, unsupported or cannot be loaded, or a size or length does not fit it."""


class ModelError(DualCoOpError):
    """A saved model cannot be read, or does not belong to this backbone or these classes."""


class ConfigError(DualCoOpError):
    """An option has a value that makes no sense, alone or together with another one."""
