"""What an exported file says about itself, as text properties inside the file; needs neither torch nor onnx."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from dualcoop.checks import check_choice, check_whole
from dualcoop.class_names import checked_classes
from dualcoop.errors import ConfigError, ModelError
from dualcoop.inference.squash import INTERPOLATIONS
from dualcoop.version import __version__

PREFIX = "dualcoop."
FORMAT_KEY = PREFIX + "format"
FORMAT = 1
"""Counts up when a file can no longer be read by older versions."""

INPUT = "pixels"
OUTPUT = "probabilities"
AGAIN = "export the model again"


@dataclass(frozen=True)
class TaggerDescription:
    """Everything besides the graph that tagging images takes, and where the graph came from.

    Attributes:
        classes: M names.
        thresholds: M probabilities; a class is present where its own exceeds it.
        image_size: side of the square input, pixels.
        interpolation: how images are squashed to it.
        mean, std: of the pixels, in units of [0, 1]. For information: the graph itself normalises.
        aggregation: of the head. For information.
        backbone: name, without folders. For information.
        backbone_fingerprint: of the backbone before any fine-tuning.
        finetuned: whether tensors of the backbone were.
        precision: of the image tower, "float32" or "int8".
        dualcoop_version: that wrote the file.
    """

    classes: tuple[str, ...]
    thresholds: tuple[float, ...]
    image_size: int
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    aggregation: str
    backbone: str
    backbone_fingerprint: str
    finetuned: bool
    precision: str
    dualcoop_version: str = __version__

    def __post_init__(self) -> None:
        checked_classes(self.classes)
        if len(self.thresholds) != len(self.classes) or not all(map(math.isfinite, self.thresholds)):
            raise ConfigError(f"there are {len(self.thresholds)} thresholds for {len(self.classes)} classes")
        check_choice("interpolation", self.interpolation, INTERPOLATIONS)
        check_whole("image_size", self.image_size, 1)

    def to_properties(self) -> dict[str, str]:
        """Names to JSON values, `dualcoop.` before each name."""
        values = {PREFIX + field.name: getattr(self, field.name) for field in fields(self)}
        return {name: json.dumps(value, ensure_ascii=False) for name, value in {FORMAT_KEY: FORMAT, **values}.items()}

    @classmethod
    def from_properties(cls, properties: Mapping[str, str], source: str) -> "TaggerDescription":
        """Read what `to_properties` wrote; properties of other names do not matter.

        Args:
            properties: of the file.
            source: the file, for messages.

        Raises:
            ModelError: for a file of another origin, of a newer version, or with values that make no sense.
        """
        if FORMAT_KEY not in properties:
            what = "this ONNX file says nothing of classes and thresholds; it was not written by `dualcoop export`"
            raise ModelError(what, where=source, remedy=AGAIN)
        if properties[FORMAT_KEY] != str(FORMAT):
            what = f"the file has format {properties[FORMAT_KEY]}, this version of dualcoop reads {FORMAT}"
            raise ModelError(what, where=source, remedy=f"use the version that wrote it, or {AGAIN}")
        try:
            values = {field.name: _plain(json.loads(properties[PREFIX + field.name])) for field in fields(cls)}
            return cls(**values)
        except (KeyError, ValueError, TypeError, ConfigError) as error:
            raise ModelError(f"the description inside is damaged ({error})", where=source, remedy=AGAIN) from error


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
