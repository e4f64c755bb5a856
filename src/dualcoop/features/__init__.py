"""Region features of frozen images: encoded once, stored, scored, evaluated."""

from typing import TYPE_CHECKING

from dualcoop.lazy import lazy_attributes

if TYPE_CHECKING:
    from dualcoop.features.encoding import encode_images_once as encode_images_once
    from dualcoop.features.regions import RegionFeatures as RegionFeatures

_HOMES = {
    "RegionFeatures": "dualcoop.features.regions",
    "encode_images_once": "dualcoop.features.encoding",
}

__all__ = [*_HOMES]

__getattr__ = lazy_attributes(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
