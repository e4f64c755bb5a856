"""All methods by name; a new one is a file here and a line in this table."""

from importlib import import_module
from typing import TYPE_CHECKING

from dualcoop.checks import check_choice

if TYPE_CHECKING:
    from dualcoop.methods.base import Method

METHODS = {
    "dualcoop": "dualcoop.methods.dualcoop:DualCoOp",
    "zero-shot": "dualcoop.methods.zero_shot:ZeroShot",
    "linear": "dualcoop.methods.linear:Linear",
}
"""Module and class of each method, imported when first asked for."""


def method_class(name: str) -> type["Method"]:
    """The class of a method.

    Raises:
        ConfigError: for a name that is not in the table.
    """
    check_choice("method", name, METHODS)
    module, _, attribute = METHODS[name].partition(":")
    found: type[Method] = getattr(import_module(module), attribute)
    return found
