"""Options declared once, as typed fields of frozen dataclasses.

Python checks them, the command line offers them, run.json keeps them, and the documentation lists them.
"""

import os
from collections.abc import Iterator
from dataclasses import field, fields
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypeAlias,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from annotated_types import Ge, Gt, Le, Lt, Predicate

from dualcoop.errors import ConfigError, Only, Text

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Whole: TypeAlias = Annotated[int, Ge(0)]
Counted: TypeAlias = Annotated[int, Ge(1)]
Amount: TypeAlias = Annotated[float, Ge(0)]
AboveZero: TypeAlias = Annotated[float, Gt(0)]
UnderOne: TypeAlias = Annotated[float, Ge(0), Lt(1)]
Phrase: TypeAlias = Annotated[str, Predicate(str.strip)]

Precision: TypeAlias = Literal["float32", "bfloat16"]
"""Numbers in which encoders compute."""
FeaturePrecision: TypeAlias = Literal["float16", "int8"]
"""Numbers in which region features are kept."""
Aggregation: TypeAlias = Literal["softmax", "average", "maximum", "attention"]
"""How the regions of an image become one score."""

Options = TypeVar("Options")


def option(
    default: Any,
    help: str = "",
    *,
    panel: str | None = None,
    flags: tuple[str, ...] = (),
    metavar: str | None = None,
    shown_default: str | None = None,
    word_for_none: str | None = None,
) -> Any:
    """A field of a dataclass of options.

    Args:
        default: value where none is given; None leaves the choice open.
        help: what it means, in words that fit every front end.
        panel: heading under which a front end offers it; without one it is offered elsewhere, or to Python alone.
        flags: how the command line spells it where that does not follow from the name; "--yes/--no" for a pair.
        metavar: what stands for the value there.
        shown_default: what is said of a default that does not speak for itself.
        word_for_none: what the command line takes for None where None is not the default.
    """
    return field(default=default, metadata=dict(locals()))


def option_of(kind: type[Any], name: str, **changes: Any) -> Any:
    """The option of another class once more, with what is different about it; arguments as `option`'s."""
    described = next(each for each in fields(kind) if each.name == name)
    return option(**{**described.metadata, **changes})


def documented(kind: type[Options]) -> type[Options]:
    """Append what every option means to the docstring of a class of options."""
    lines = (f"    {each.name}: {each.metadata.get('help', '')}" for each in fields(kind))  # type: ignore[arg-type]
    kind.__doc__ = "\n".join([f"{kind.__doc__}\n\nAttributes:", *lines])
    return kind


def check_options(options: Any) -> None:
    """Hold every field of a frozen dataclass against its type; text may stand for a path, a list for a tuple.

    Raises:
        ConfigError: naming the first option that does not fit, and what was expected.
    """
    from pydantic import ValidationError

    of_class: Any = type(options)
    for name, (kind, checker) in _checkers(of_class).items():
        value = getattr(options, name)
        try:
            fitting = checker.validate_python(Path(value) if isinstance(value, os.PathLike) else value)
        except ValidationError:
            raise ConfigError((f"is {value!r}, expected ", *expected(kind)), option=name) from None
        object.__setattr__(options, name, fitting)


@cache
def _checkers(options: Any) -> "dict[str, tuple[Any, TypeAdapter[Any]]]":
    from pydantic import ConfigDict, TypeAdapter

    checkers, kinds = {}, get_type_hints(options, include_extras=True)
    for name in (each.name for each in fields(options)):
        kind = kinds[name]
        strict = not any(part is Path or get_origin(part) is tuple for part in parts_of(kind))
        checkers[name] = kind, TypeAdapter(kind, config=ConfigDict(strict=strict, allow_inf_nan=False))
    return checkers


def parts_of(kind: Any) -> Iterator[Any]:
    """What an option's type is made of: the alternatives, and the bounds on them."""
    if get_origin(kind) in (Union, UnionType):
        for alternative in get_args(kind):
            yield from parts_of(alternative)
    elif get_origin(kind) is Annotated:
        yield from get_args(kind)
    else:
        yield kind


def choices(kind: Any) -> tuple[str, ...]:
    """What a `Literal`, or each entry of a tuple of them, may be; empty for other types."""
    return tuple(
        choice
        for part in parts_of(kind)
        for literal in (get_args(part)[:1] if get_origin(part) is tuple else (part,))
        if get_origin(literal) is Literal
        for choice in get_args(literal)
    )


def bound(kind: Any, limit: type[Ge] | type[Gt] | type[Le] | type[Lt]) -> Any:
    """The number in a bound such as `Ge`, None where there is none."""
    found = (getattr(part, limit.__name__.lower()) for part in parts_of(kind) if isinstance(part, limit))
    return next(found, None)


def expected(kind: Any) -> tuple[Text, ...]:
    """What an option takes, in words."""
    none = (Only("python", " or None"),) if NoneType in parts_of(kind) else ()
    return (_expected(kind), *none)


def _expected(kind: Any) -> str:
    parts = list(parts_of(kind))
    if allowed := choices(kind):
        number = "some" if any(get_origin(part) is tuple for part in parts) else "one"
        return f"{number} of {', '.join(allowed)}"
    if bool in parts:
        return "True or False"
    if int in parts:
        return f"a whole number of at least {bound(kind, Ge)}"
    if float in parts:
        above, least, most, under = (bound(kind, limit) for limit in (Gt, Ge, Le, Lt))
        upper = f" and under {under}" if under is not None else f" and at most {most}" if most is not None else ""
        return f"a number {f'of at least {least}' if above is None else f'above {above}'}{upper}"
    if Path in parts:
        return "a folder"
    return "a phrase" if any(isinstance(part, Predicate) for part in parts) else "a text"
