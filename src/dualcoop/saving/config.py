"""The readable half of a saved model, config.json: what it holds and how it is checked."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dualcoop.class_names import checked_classes
from dualcoop.errors import ConfigError, ModelError
from dualcoop.network.settings import entry
from dualcoop.version import __version__

CONFIG_FILE = "config.json"
FORMAT = "dualcoop"
FORMAT_VERSION = 1
DEFAULT_METHOD = "dualcoop"
"""Of models whose configuration names none."""
COMMON = ("format", "format_version", "dualcoop_version", "method", "backbone", "classes", "files", "training_record")
"""Entries of every method's configuration; the others are settings of the method."""


@dataclass(frozen=True)
class SavedConfig:
    """Everything about a saved model but its tensors.

    Attributes:
        classes: M names.
        settings: the method's own, see `RegionClassifier.settings`; checked when the model is built.
        backbone_name: as `create_backbone` takes it.
        backbone_fingerprint: of the backbone before any fine-tuning.
        finetuned: some backbone tensors are saved too.
        files: SHA-256 (hex) of every tensor file by name.
        training_record: JSON values, see `RegionClassifier`.
        method: name of it, see `RegionClassifier`.
        dualcoop_version: of the package that saved the model.
    """

    classes: tuple[str, ...]
    settings: dict[str, Any]
    backbone_name: str
    backbone_fingerprint: str
    finetuned: bool
    files: dict[str, str]
    training_record: dict[str, Any] = field(default_factory=dict)
    method: str = DEFAULT_METHOD
    dualcoop_version: str = __version__

    def to_dict(self) -> dict[str, Any]:
        """JSON values, in the order in which a reader wants them."""
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "dualcoop_version": self.dualcoop_version,
            **({} if self.method == DEFAULT_METHOD else {"method": self.method}),
            "backbone": {
                "name": self.backbone_name,
                "fingerprint": self.backbone_fingerprint,
                "finetuned": self.finetuned,
            },
            "classes": list(self.classes),
            **self.settings,
            "files": self.files,
            "training_record": self.training_record,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "SavedConfig":
        """Check and take over what `to_dict` wrote.

        Raises:
            ConfigError: naming the entry that is missing or of the wrong kind.
        """
        if values.get("format") != FORMAT:
            raise ConfigError(f'"format" is {values.get("format")!r}, expected {FORMAT!r}')
        version = entry(values, "format_version", int)
        if version > FORMAT_VERSION:
            what = f"it has format {version}, and dualcoop {__version__} reads up to {FORMAT_VERSION}"
            raise ConfigError(f"{what}; install a newer version")
        backbone = entry(values, "backbone", dict)
        files = entry(values, "files", dict)
        entry(values, "image_size", int)
        entry({"prompts": {}, **values}, "prompts", dict)
        return cls(
            classes=checked_classes(entry(values, "classes", list)),
            settings={name: value for name, value in values.items() if name not in COMMON},
            backbone_name=entry(backbone, "name", str),
            backbone_fingerprint=entry(backbone, "fingerprint", str),
            finetuned=entry(backbone, "finetuned", bool),
            files={name: entry(files, name, str) for name in files},
            training_record=entry(values, "training_record", dict),
            method=entry({"method": DEFAULT_METHOD, **values}, "method", str),
            dualcoop_version=entry(values, "dualcoop_version", str),
        )


def is_saved_model(folder: Path) -> bool:
    """Whether a folder's config.json says that a model was saved there, damaged or not."""
    try:
        text = (folder / CONFIG_FILE).read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return False
    try:
        values = json.loads(text)
    except ValueError:
        # Cut off or edited: the format's name comes first, so it is ours if it is still there.
        return f'"{FORMAT}"' in text[:200]
    return isinstance(values, dict) and values.get("format") == FORMAT


def read_config(folder: Path) -> SavedConfig:
    """Read and check a saved model's config.json.

    Raises:
        ModelError: naming the file and what is wrong with it.
    """
    path = folder / CONFIG_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ConfigError("expected a JSON object")
        return SavedConfig.from_dict(values)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); is this a saved model?") from error
    except ValueError as error:
        raise ModelError(f"{path}: not valid JSON ({error}); save or download the model again") from error
    except ConfigError as error:
        raise ModelError(f"{path}: {error}") from error


def plain(value: object, where: str = "training_record") -> Any:
    """A value as JSON knows it: paths as text, arrays as lists, numbers that are not finite as None.

    Raises:
        ModelError: for something that has no place in JSON, naming where it is.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist(), where)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    raise ModelError(f"{where} is a {type(value).__name__}, which cannot be written as JSON")
