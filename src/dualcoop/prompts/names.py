"""Class names: how they stand in a prompt and what makes a list of them valid."""

from collections.abc import Sequence

from dualcoop.errors import ConfigError


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
        raise ConfigError(f"classes is the text {classes!r}, expected a list of names")
    names = tuple(classes)
    if not names:
        raise ConfigError("there are no classes; give at least one name")
    seen: dict[str, str] = {}
    for position, name in enumerate(names):
        if not isinstance(name, str) or not normalise_name(name):
            raise ConfigError(f"class {position} is {name!r}, expected a name that is not empty")
        first = seen.setdefault(normalise_name(name), name)
        if len(seen) <= position:
            same = "twice" if first == name else f"as {first!r} and {name!r}, which make the same prompt"
            raise ConfigError(
                f"class {normalise_name(name)!r} is given {same}; every class needs a name of its own"
            )
    return names
