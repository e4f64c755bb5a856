"""Images to tensors, compared with torchvision's transforms."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import Compose, InterpolationMode, Normalize, Resize, ToTensor

from dualcoop.backbones.preprocessing import SquashAndNormalise
from dualcoop.errors import BackboneError
from tolerances import assert_agree

MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)


def image_of(mode: str = "RGB", size: tuple[int, int] = (50, 30)) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear", "nearest"])
@pytest.mark.parametrize("size", [20, 64])
def test_it_equals_torchvision(interpolation: str, size: int) -> None:
    ours = SquashAndNormalise(size, MEAN, STD, interpolation)(image_of())
    resize = Resize((size, size), InterpolationMode(interpolation))
    expected = Compose([resize, ToTensor(), Normalize(MEAN, STD)])(image_of())
    assert ours.dtype == torch.float32
    assert_agree(ours, expected, terms=4)


def test_the_whole_image_stays_in_view() -> None:
    image = Image.new("RGB", (200, 20), (0, 0, 0))
    image.paste((255, 255, 255), (0, 0, 20, 20))
    image.paste((255, 255, 255), (180, 0, 200, 20))
    row = SquashAndNormalise(40, (0, 0, 0), (1, 1, 1), "nearest")(image)[0, 20]
    assert row[0] == row[-1] == 1
    assert row[20] == 0


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_other_modes_become_rgb(mode: str) -> None:
    image = image_of(mode)
    transform = SquashAndNormalise(16, MEAN, STD)
    assert torch.equal(transform(image), transform(image.convert("RGB")))


def test_it_travels_to_data_loader_workers() -> None:
    transform = SquashAndNormalise(16, MEAN, STD)
    copy = pickle.loads(pickle.dumps(transform))
    assert torch.equal(copy(image_of()), transform(image_of()))


def test_an_unknown_interpolation_is_refused() -> None:
    with pytest.raises(BackboneError, match="'lanczos', expected one of nearest, bilinear, bicubic"):
        SquashAndNormalise(16, MEAN, STD, "lanczos")
