"""Region features of frozen images: encoded once, stored, scored, evaluated."""

from typing import TYPE_CHECKING

from dualcoop.lazy import lazy_attributes

if TYPE_CHECKING:
    from dualcoop.features.encoding import encode_images_once as encode_images_once
    from dualcoop.features.regions import RegionFeatures as RegionFeatures

__all__, __getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "dualcoop.features.encoding": ("encode_images_once",),
        "dualcoop.features.regions": ("RegionFeatures",),
    },
)
