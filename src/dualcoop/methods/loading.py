"""Saved models of whatever method."""

import os
from collections.abc import Sequence
from typing import Any

from dualcoop.errors import ConfigError, ModelError
from dualcoop.methods.base import Method
from dualcoop.methods.registry import method_class
from dualcoop.saving.config import read_config
from dualcoop.saving.folder import load_model
from dualcoop.saving.hub import find_model


def load_method(
    name_or_path: str | os.PathLike[str],
    classes: Sequence[str] | None = None,
    *,
    revision: str | None = None,
    token: str | None = None,
    **options: Any,
) -> Method:
    """A saved model as the class of the method that saved it.

    Args:
        name_or_path: folder, or hub repository ("owner/name").
        classes: left out, or exactly the model's own.
        revision: of a hub repository.
        token: for a private hub repository.
        options: `image_size`, `device` and `backbone`, see `Method.from_pretrained`.

    Raises:
        ModelError: when it cannot be read, or belongs to another backbone, other classes or an unknown method.
        ConfigError: when the name can be no saved model.
    """
    folder = find_model(name_or_path, revision=revision, token=token)
    try:
        kind = method_class(read_config(folder).method)
    except ConfigError as error:
        remedy = "install a newer version of dualcoop"
        raise ModelError(error.message, where=str(folder), remedy=remedy) from error
    return load_model(folder, kind, classes, **options)
