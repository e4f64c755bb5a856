"""Augmentations of training pictures; all keep the square that the picture was squashed to."""

from collections.abc import Callable

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

Transform = Callable[[Image.Image], Tensor]


class Cutout:
    """Fill a square of half the side at a random place with grey; it may stick out of the picture."""

    def __init__(self, share: float = 0.5) -> None:
        self.share = share

    def __call__(self, image: Image.Image) -> Image.Image:
        """A copy of the picture with the square filled."""
        width, height = image.size
        half = max(1, int(self.share * min(width, height)) // 2)
        x = int(torch.randint(width, ()))
        y = int(torch.randint(height, ()))
        box = (max(0, x - half), max(0, y - half), min(width, x + half), min(height, y + half))
        copy = image.copy()
        copy.paste((127, 127, 127), box)
        return copy


def augmented(preprocess: Transform, augmentation: str, image_size: int) -> Transform:
    """`preprocess` with an augmentation before it.

    Args:
        preprocess: the backbone's own, picture to (3, S, S).
        augmentation: "none", "flip" (mirrored always, so that a second view differs from the first), or
            "published" (random mirror, Cutout of half the side, RandAugment).
        image_size: S, pixels; the augmentation sees the squashed picture.

    Random numbers come from torch's global generator.
    """
    if augmentation == "none":
        return preprocess
    if augmentation == "flip":
        return lambda image: preprocess(functional.horizontal_flip(image))
    chain = v2.Compose(
        [
            v2.Resize((image_size, image_size), interpolation=v2.InterpolationMode.BICUBIC),
            v2.RandomHorizontalFlip(),
            Cutout(),
            v2.RandAugment(),
        ]
    )
    return lambda image: preprocess(chain(image))
