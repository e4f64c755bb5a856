"""From an image of any shape to the square, normalised tensor that an image tower expects."""

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dualcoop.errors import BackboneError
from dualcoop.inference.squash import INTERPOLATIONS, squash


@final
@dataclass(frozen=True)
class SquashAndNormalise:
    """Squash to a square (see `squash`), then normalise.

    The object can be pickled, so data loader workers can carry it.

    Attributes:
        size: side of the square, pixels.
        mean: per channel, in units of [0, 1].
        std: per channel, in units of [0, 1].
        interpolation: "bicubic", "bilinear" or "nearest".

    Raises:
        BackboneError: for another interpolation.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bicubic"

    def __post_init__(self) -> None:
        if self.interpolation not in INTERPOLATIONS:
            expected = ", ".join(INTERPOLATIONS)
            raise BackboneError(f"is {self.interpolation!r}, expected one of {expected}", option="interpolation")

    def __call__(self, image: Image.Image) -> Tensor:
        """Transform one image of any mode to (3, size, size), float32, channels last in memory."""
        place = self.room(1)[0]
        self.write(image, place)
        return torch.from_numpy(place).permute(2, 0, 1)

    def room(self, count: int) -> NDArray[np.float32]:
        """For so many images: (count, size, size, 3), not filled."""
        return np.empty((count, self.size, self.size, 3), dtype=np.float32)

    def write(self, image: Image.Image, place: NDArray[np.float32]) -> None:
        """Write one image of any mode to (size, size, 3), a place in what `room` gave."""
        std = np.array(self.std)
        # Whole rows at once: numpy is slow on an axis of three. And numpy, not torch, so that several threads
        # can do this without each starting torch's own.
        rows = place.reshape(self.size, self.size * 3)
        squashed = squash(image, self.size, self.interpolation).reshape(rows.shape)
        np.multiply(squashed, np.tile((1 / (255 * std)).astype(np.float32), self.size), out=rows)
        rows -= np.tile((np.array(self.mean) / std).astype(np.float32), self.size)
