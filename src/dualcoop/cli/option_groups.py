"""Groups of options as dataclasses: declared once, used by several commands, shown under one heading."""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from functools import lru_cache, wraps
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from annotated_types import Ge, Le

from dualcoop.options import bound, choices

SET_BY_USER = ("COMMANDLINE", "DEFAULT_MAP")


class FieldsOf:
    """Marks a parameter that takes the values of those options of the library that have a panel, by name."""

    def __init__(self, *kinds: type[Any]) -> None:
        self.kinds = kinds

    def offered(self) -> dict[str, type[Any]]:
        """Names of the fields with a panel, and a class that has them."""
        return {each.name: kind for kind in self.kinds for each in fields(kind) if each.metadata["panel"]}


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Spread groups of options into options of their own, and collect them again.

    A group is a parameter that is a dataclass of `dualcoop.options.option`s, or marked with `FieldsOf`. The `PANEL` of
    a class is the heading of those of its options that have none.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, tuple[Callable[..., Any], list[str]]] = {}
    parameters = []
    for parameter in inspect.signature(command).parameters.values():
        hint = hints[parameter.name]
        marks = [mark for mark in get_args(hint)[1:] if isinstance(mark, FieldsOf)] if get_origin(hint) else []
        if not marks and not is_dataclass(hint):
            parameters.append(parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=hint))
            continue
        offered = marks[0].offered() if marks else {each.name: hint for each in fields(hint)}
        groups[parameter.name] = (dict if marks else hint), list(offered)
        parameters += [_parameter(name, kind) for name, kind in offered.items()]

    @wraps(command)
    def collected(**values: Any) -> None:
        for name, (kind, members) in groups.items():
            values[name] = kind(**{member: values.pop(member) for member in members})
        command(**values)

    collected.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    collected.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del collected.__wrapped__
    return collected


@lru_cache
def _types(group: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Types of a group's fields, with and without bounds; read once, since every start needs them."""
    return get_type_hints(group, include_extras=True), get_type_hints(group)


def _parameter(name: str, group: Any) -> inspect.Parameter:
    """An option of the library as Typer wants it: type and default, with help, bounds and flags."""
    described = next(each for each in fields(group) if each.name == name)
    kinds, bare_ones = _types(group)
    kind, bare = kinds[name], bare_ones[name]
    shown, default = described.metadata, getattr(group, name)
    metavar, flags, word = shown["metavar"], shown["flags"], shown["word_for_none"]
    if get_origin(bare) is tuple:
        # Typer knows no lists of choices; the library refuses other ones.
        bare, default, metavar = list[str], list(default), f"[{'|'.join(choices(kind))}]"
    if default is False and not flags:
        flags = (f"--{name.replace('_', '-')}",)
    annotation = typer.Option(
        *flags,
        help=f'{shown["help"]} "{word}" stands for none.' if word else shown["help"],
        rich_help_panel=shown["panel"] or getattr(group, "PANEL", None),
        metavar=metavar,
        min=bound(kind, Ge),
        max=bound(kind, Le),
        show_default=shown["shown_default"] or default not in (None, []),
    )
    shape: Any = Annotated[bare, annotation]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=shape)


def given(context: typer.Context, names: Iterable[str]) -> set[str]:
    """Those of these options that the command line or a repeated run sets, the others being left at their defaults."""
    return {name for name in names if getattr(context.get_parameter_source(name), "name", "") in SET_BY_USER}


def plain(group: Any) -> dict[str, Any]:
    """All fields of a group as JSON values."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in vars(group).items()}
