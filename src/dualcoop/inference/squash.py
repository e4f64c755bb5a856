"""From an image of any shape to the square of pixels that image towers take; needs no torch."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}

# A large JPEG is decoded at no less than this many times the input's side: several times faster, and the
# resampling to the input size still averages over pixels.
DRAFT_OVERSAMPLING = 2


def squash(image: Image.Image, size: int, interpolation: str) -> NDArray[np.uint8]:
    """Resize to a square without keeping the proportions.

    Squashing keeps what lies near the borders, where labels of a multi-label image often are; the published
    code does the same. The image may have any mode, `interpolation` is one of INTERPOLATIONS, and what comes out is
    RGB, (size, size, 3).
    """
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    return np.asarray(rgb.resize((size, size), INTERPOLATIONS[interpolation]), dtype=np.uint8)
