"""Entries of a saved configuration, checked one by one."""

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from dualcoop.errors import ConfigError

T = TypeVar("T")


def entry(values: Mapping[str, Any], name: str, kind: type[T]) -> T:
    """An entry of this kind; raises ConfigError naming one that is missing or of another kind."""
    value = values.get(name)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ConfigError(f'"{name}" is {_given(values, name)}, expected a {kind.__name__}')
    return value


def number(values: Mapping[str, Any], name: str) -> float:
    """An entry that is a finite number; errors as `entry`."""
    value = values.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigError(f'"{name}" is {_given(values, name)}, expected a number')
    return float(value)


def _given(values: Mapping[str, Any], name: str) -> str:
    return "missing" if name not in values else repr(values[name])[:60]
