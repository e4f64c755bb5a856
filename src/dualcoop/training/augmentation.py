"""Augmentations of training pictures; all keep the square that the picture was squashed to."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

Transform = Callable[[Image.Image], Tensor]


class Cutout:
    """Fill a square at a random place with a random colour; it may stick out of the picture.

    Args:
        share: side of the square over the shorter side of the picture.
    """

    def __init__(self, share: float = 0.5) -> None:
        self.share = share

    def __call__(self, image: Image.Image) -> Image.Image:
        """A copy of the RGB picture with the square filled."""
        width, height = image.size
        half = max(1, int(self.share * min(width, height)) // 2)
        x, y = int(torch.randint(width, ())), int(torch.randint(height, ()))
        red, green, blue = torch.randint(256, (3,)).tolist()
        copy = image.copy()
        box = (max(0, x - half), max(0, y - half), min(width, x + half), min(height, y + half))
        copy.paste((red, green, blue), box)
        return copy


def augmented(preprocess: Transform, augmentation: str, image_size: int, *, alone: bool = False) -> Transform:
    """`preprocess` with an augmentation before it.

    Args:
        preprocess: the backbone's own, picture to (3, S, S).
        augmentation: "none", "flip", or "published" (Cutout of half the side, then RandAugment).
        image_size: S, pixels; the published augmentation sees the squashed picture.
        alone: no plain view stands beside this one, so "flip" mirrors every second picture at random, where
            it otherwise mirrors all of them.

    Random numbers come from torch's global generator; see `RandomNumbers`.
    """
    if augmentation == "none":
        return preprocess
    if augmentation == "flip":
        mirror = v2.RandomHorizontalFlip() if alone else functional.horizontal_flip
        return lambda image: preprocess(mirror(image))
    chain = v2.Compose(
        [
            v2.Resize((image_size, image_size), interpolation=v2.InterpolationMode.BICUBIC),
            Cutout(),
            v2.RandAugment(),
        ]
    )
    return lambda image: preprocess(chain(image))


class RandomNumbers:
    """A stream of random numbers for transforms that know only torch's global generator.

    Args:
        entropy: whole numbers that seed the stream.
    """

    def __init__(self, *entropy: int) -> None:
        seed = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        self._state = torch.Generator().manual_seed(seed).get_state()

    @contextmanager
    def drawn(self) -> Iterator[None]:
        """Inside, the global generator goes on with this stream; outside, nothing has changed."""
        outside = torch.get_rng_state()
        torch.set_rng_state(self._state)
        try:
            yield
        finally:
            self._state = torch.get_rng_state()
            torch.set_rng_state(outside)
