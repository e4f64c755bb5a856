"""From a picture of any shape to the square, normalised tensor that an image tower expects."""

from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from dualcoop.errors import BackboneError
from dualcoop.squash import INTERPOLATIONS, squash


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
            raise BackboneError(
                f"interpolation is {self.interpolation!r}, expected one of {', '.join(INTERPOLATIONS)}"
            )

    def __call__(self, image: Image.Image) -> Tensor:
        """Transform one picture of any mode to (3, size, size), float32."""
        squashed = squash(image, self.size, self.interpolation)
        pixels = torch.from_numpy(squashed.copy()).permute(2, 0, 1)
        unit = pixels.to(torch.float32).div_(255)
        mean = torch.tensor(self.mean, dtype=torch.float32).view(3, 1, 1)
        std = torch.tensor(self.std, dtype=torch.float32).view(3, 1, 1)
        return unit.sub_(mean).div_(std).contiguous()
