"""Groups of options as dataclasses: declared once, used by several commands, shown under one heading."""

import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import wraps
from pathlib import Path
from typing import Any, get_type_hints

import typer

SET_BY_USER = ("COMMANDLINE", "DEFAULT_MAP")


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Spread the fields of every dataclass parameter into options of their own, and collect them again.

    The fields are annotated as Typer wants parameters to be: `Annotated[type, typer.Option(...)] = default`.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, type[Any]] = {
        name: kind for name, kind in hints.items() if isinstance(kind, type) and is_dataclass(kind)
    }

    @wraps(command)
    def collected(**values: Any) -> None:
        for name, kind in groups.items():
            values[name] = kind(**{field.name: values.pop(field.name) for field in fields(kind)})
        command(**values)

    parameters = []
    for parameter in inspect.signature(command).parameters.values():
        if parameter.name not in groups:
            kept = parameter.replace(kind=parameter.KEYWORD_ONLY, annotation=hints[parameter.name])
            parameters.append(kept)
            continue
        kind = groups[parameter.name]
        types = get_type_hints(kind, include_extras=True)
        parameters += [
            inspect.Parameter(field.name, parameter.KEYWORD_ONLY, default=field.default, annotation=types[field.name])
            for field in fields(kind)
        ]
    collected.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    collected.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del collected.__wrapped__
    return collected


def given(context: typer.Context, group: Any) -> dict[str, Any]:
    """The fields of a group that the command line or a repeated run sets, not those left at their defaults."""
    return {
        field.name: getattr(group, field.name)
        for field in fields(group)
        if getattr(context.get_parameter_source(field.name), "name", "") in SET_BY_USER
    }


def plain(group: Any) -> dict[str, Any]:
    """All fields of a group as JSON values."""
    values = {field.name: getattr(group, field.name) for field in fields(group)}
    return {name: plain_value(value) for name, value in values.items()}


def plain_value(value: Any) -> Any:
    """An option's value as JSON knows it."""
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value
