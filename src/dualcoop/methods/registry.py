"""All methods by name, and saved models of any of them; a new method is a file here and a line in this table."""

import os
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

from dualcoop.checks import check_choice
from dualcoop.errors import ConfigError, ModelError

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


def load_method(
    name_or_path: str | os.PathLike[str],
    classes: Sequence[str] | None = None,
    *,
    revision: str | None = None,
    token: str | None = None,
    **options: Any,
) -> "Method":
    """A saved model of any method, as the class of the one that saved it; see `Method.from_pretrained`.

    Raises:
        ModelError: when it cannot be read, or belongs to another backbone, other classes or an unknown method.
        ConfigError: when the name can be no saved model.
    """
    from dualcoop.saving.config import read_config
    from dualcoop.saving.folder import load_model
    from dualcoop.saving.hub import find_model

    folder = find_model(name_or_path, revision=revision, token=token)
    try:
        kind = method_class(read_config(folder).method)
    except ConfigError as error:
        remedy = "install a newer version of dualcoop"
        raise ModelError(error.message, where=str(folder), remedy=remedy) from error
    return load_model(folder, kind, classes, **options)
