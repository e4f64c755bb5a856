"""Class names: how they stand in a prompt, what makes a list of them valid, where one stands, how two lists differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from dualcoop.errors import ConfigError, ModelError

SHOWN_NAMES = 10


def normalise_name(name: str) -> str:
    """A class name as it stands in a prompt: underscores become spaces, white space collapses, no more."""
    return " ".join(name.replace("_", " ").split())


def checked_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """The names as a tuple, if every prompt they make is different from every other.

    Raises:
        ConfigError: when there are none, one is empty or no text, or two are the same or differ only in
            underscores and white space.
    """
    if isinstance(classes, str):
        raise ConfigError(f"is the text {classes!r}, expected a list of names", option="classes")
    names = tuple(classes)
    if not names:
        raise ConfigError("there are no classes", remedy="give at least one name")
    seen: dict[str, str] = {}
    for position, name in enumerate(names):
        if not isinstance(name, str) or not normalise_name(name):
            raise ConfigError(f"class {position} is {name!r}, expected a name that is not empty")
        first = seen.setdefault(normalise_name(name), name)
        if len(seen) <= position:
            same = "twice" if first == name else f"as {first!r} and {name!r}, which make the same prompt"
            what = f"class {normalise_name(name)!r} is given {same}"
            raise ConfigError(what, remedy="give every class a name of its own")
    return names


def class_index(classes: Sequence[str], label: str) -> int:
    """Position of a class; underscores and white space do not matter.

    Raises:
        ModelError: for a label that is none of the classes, with the nearest names.
    """
    names = [normalise_name(name) for name in classes]
    wanted = normalise_name(label)
    if wanted in names:
        return names.index(wanted)
    near = get_close_matches(wanted, names, n=3) or names[:3]
    raise ModelError(f"{label!r} is none of the model's {len(names)} classes; near it are {', '.join(map(repr, near))}")


@dataclass(frozen=True)
class ClassDifferences:
    """Names that only one of a model and its data has, as given; underscores and white space do not matter.

    Attributes:
        model: only in the model.
        data: only in the data.
    """

    model: tuple[str, ...]
    data: tuple[str, ...]

    @classmethod
    def between(cls, model: Sequence[str], data: Sequence[str]) -> "ClassDifferences":
        """Compare the names of a model with those of data, in whatever order."""
        in_model, in_data = ({normalise_name(name) for name in names} for names in (model, data))
        return cls(
            tuple(name for name in model if normalise_name(name) not in in_data),
            tuple(name for name in data if normalise_name(name) not in in_model),
        )

    def __bool__(self) -> bool:
        return bool(self.model or self.data)

    def __str__(self) -> str:
        sides = (("Only in the model", self.model), ("Only in the data", self.data))
        return " ".join(f"{title}: {some_names(names)}." for title, names in sides if names)


def some_names(names: Sequence[str]) -> str:
    """The first ten names and how many more there are."""
    more = len(names) - SHOWN_NAMES
    return ", ".join(names[:SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")
