"""What stored region features are features of: an encoding, an image's content, a view."""

import hashlib
import json
import re
import secrets
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dualcoop.cache.shards import Layout
from dualcoop.errors import ConfigError

FORMAT = 1
STORED = ("float16", "int8")
NAME_CHARACTERS = 40
DIGEST_CHARACTERS = 16
READERS = 4


@dataclass(frozen=True)
class Encoding:
    """Everything besides the image that decides its features.

    The device is none of it: devices agree but for rounding.

    Attributes:
        backbone: its name, for people.
        fingerprint: of the backbone as it encodes now.
        pooling: "regions", or "attention" for the backbone's own pooling to one.
        image_size: side of the input, pixels.
        precision: in which the image tower computes, "float32" or "bfloat16".
        pixels: version of what is done to an image before it is encoded.
        regions: R.
        dimensions: D.
        stored: "float16", or "int8" with a scale for each region.
    """

    backbone: str
    fingerprint: str
    pooling: str
    image_size: int
    precision: str
    pixels: int
    regions: int
    dimensions: int
    stored: str = "float16"

    def __post_init__(self) -> None:
        if self.stored not in STORED:
            what = f"is {self.stored!r}, expected one of {', '.join(STORED)}"
            raise ConfigError(what, option="feature_precision")

    @property
    def layout(self) -> Layout:
        """Form of the rows."""
        return Layout(self.stored, self.regions, self.dimensions)

    @property
    def folder_name(self) -> str:
        """A name that no other encoding has, and that tells people which backbone it is."""
        content = {name: value for name, value in self.to_dict().items() if name != "backbone"}
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        name = re.sub(r"[^\w.-]+", "-", Path(self.backbone).name).strip("-.")[:NAME_CHARACTERS]
        return f"{name or 'backbone'}-{digest[:DIGEST_CHARACTERS]}"

    def to_dict(self) -> dict[str, Any]:
        """Fields as JSON values, with the version of the format."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Encoding":
        """The reverse of `to_dict`.

        Raises:
            ValueError: for another format, or values that are not those of an encoding.
        """
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise ValueError("it is of another format")
        try:
            return cls(**{name: value for name, value in values.items() if name != "format"})
        except (TypeError, ConfigError) as error:
            raise ValueError(str(error)) from error


def content_digests(paths: Iterable[Path]) -> list[bytes]:
    """SHA-256 of each file, 32 bytes; random for one that cannot be read, which nothing stored can be of."""
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(_content_digest, paths))


def _content_digest(path: Path) -> bytes:
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return secrets.token_bytes(hashlib.sha256().digest_size)


def view_key(content: bytes, view: str) -> bytes:
    """Key of one view of an image, 32 bytes.

    Args:
        content: digest of the file.
        view: what is done to the image, in words that differ where the result does.
    """
    return hashlib.sha256(content + view.encode()).digest()
