"""Views of images: the plain one, and augmented ones that are the same whenever and wherever they are made."""

import hashlib
from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from dualcoop.features.augmentation import RandomNumbers, Transform, augmented


class Views:
    """Views of an image: the first is plain, the others are augmented.

    A view depends on the image's pixels, the seed and its number alone, not on what other images there are. The other
    arguments are those of `augmented`.
    """

    def __init__(self, preprocess: Transform, augmentation: str, image_size: int, seed: int) -> None:
        self._plain = preprocess
        self._other = augmented(preprocess, augmentation, image_size)
        self._augmentation = augmentation
        self._seed = seed

    def name(self, view: int) -> str:
        """What is done to an image in a view, in words that differ where the result does."""
        if view == 0 or self._augmentation == "none":
            return "plain"
        return "flip" if self._augmentation == "flip" else f"{self._augmentation}, seed {self._seed}, view {view}"

    def pixels(self, image: Image.Image, views: Sequence[int]) -> Tensor:
        """Some views of an RGB image, (v, 3, S, S)."""
        content = hashlib.sha256(image.tobytes()).digest() if any(views) else b""
        return torch.stack([self._view(image, view, content) for view in views])

    def _view(self, image: Image.Image, view: int, content: bytes) -> Tensor:
        if view == 0:
            return self._plain(image)
        with RandomNumbers(self._seed, view, int.from_bytes(content[:16], "little")).drawn():
            return self._other(image)
