"""Augmentations of training pictures; all keep the square that the picture was squashed to."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
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


class Views:
    """Views of a picture: the first is plain, the others are augmented.

    A view depends on the picture's pixels, the seed and its number alone, not on what other pictures there are.

    Args:
        preprocess: the backbone's own, picture to (3, S, S).
        augmentation: see `augmented`.
        image_size: S, pixels.
        seed: of the random ones.
    """

    def __init__(self, preprocess: Transform, augmentation: str, image_size: int, seed: int) -> None:
        self._plain = preprocess
        self._other = augmented(preprocess, augmentation, image_size)
        self._augmentation = augmentation
        self._seed = seed

    def name(self, view: int) -> str:
        """What is done to a picture in a view, in words that differ where the result does."""
        if view == 0 or self._augmentation == "none":
            return "plain"
        return "flip" if self._augmentation == "flip" else f"{self._augmentation}, seed {self._seed}, view {view}"

    def pixels(self, image: Image.Image, views: Sequence[int]) -> Tensor:
        """Some views of an RGB picture, (v, 3, S, S)."""
        content = hashlib.sha256(image.tobytes()).digest() if any(views) else b""
        return torch.stack([self._view(image, view, content) for view in views])

    def _view(self, image: Image.Image, view: int, content: bytes) -> Tensor:
        if view == 0:
            return self._plain(image)
        with RandomNumbers(self._seed, view, int.from_bytes(content[:16], "little")).drawn():
            return self._other(image)
