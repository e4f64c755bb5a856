"""Augmentations of training images; what comes out fits the square that images are squashed to."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

Transform = Callable[[Image.Image], Tensor]

# Milder than in training from scratch: a label of the whole image has to stay true of most of it.
CROP_AREA = (0.5, 1.0)
CROP_PROPORTIONS = (3 / 4, 4 / 3)


def cutout(image: Image.Image, share: float = 0.5) -> Image.Image:
    """A copy of an RGB image with a square at a random place, which may stick out, in a random colour.

    Its side is `share` of the shorter side of the image.
    """
    width, height = image.size
    half = max(1, int(share * min(width, height)) // 2)
    x, y = int(torch.randint(width, ())), int(torch.randint(height, ()))
    red, green, blue = torch.randint(256, (3,)).tolist()
    copy = image.copy()
    box = (max(0, x - half), max(0, y - half), min(width, x + half), min(height, y + half))
    copy.paste((red, green, blue), box)
    return copy


def crop(image: Image.Image, image_size: int) -> Image.Image:
    """A random box of an RGB image, squashed to a square of S pixels as the whole image would be.

    The box covers CROP_AREA of the image, and its width over its height is the image's times
    CROP_PROPORTIONS, so that its content is stretched by no more than that beside the squashed image's.
    From the image itself, not the squashed one, whose pixels would be spread over more than they hold.
    """
    narrowest, widest = (image.width / image.height * share for share in CROP_PROPORTIONS)
    bicubic = v2.InterpolationMode.BICUBIC
    square = (image_size, image_size)
    return v2.RandomResizedCrop(square, CROP_AREA, (narrowest, widest), bicubic, antialias=True)(image)


def augmented(preprocess: Transform, augmentation: str, image_size: int, *, alone: bool = False) -> Transform:
    """`preprocess` with an augmentation before it.

    Args:
        preprocess: the backbone's own, image to (3, S, S).
        augmentation: "none", "flip", "crop" (see `crop`; then mirrored with probability 1/2), or "published" (Cutout
            of half the side, then RandAugment).
        image_size: S, pixels; the published augmentation sees the squashed image.
        alone: no plain view stands beside this one, so "flip" mirrors every second image at random, where
            it otherwise mirrors all of them.

    Random numbers come from torch's global generator; see `RandomNumbers`.
    """
    if augmentation == "none":
        return preprocess
    if augmentation == "flip":
        mirror = v2.RandomHorizontalFlip() if alone else functional.horizontal_flip
        return lambda image: preprocess(mirror(image))
    if augmentation == "crop":
        steps = [partial(crop, image_size=image_size), v2.RandomHorizontalFlip()]
    else:
        squash = v2.Resize((image_size, image_size), interpolation=v2.InterpolationMode.BICUBIC)
        steps = [squash, cutout, v2.RandAugment()]
    return v2.Compose([*steps, preprocess])


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
