"""Views of images: which are plain, and what the others depend on."""

import numpy as np
import pytest
import torch
from PIL import Image

from dualcoop.features.views import Views
from tiny import tiny_image

SIDE = 40


def as_tensor(image: Image.Image) -> torch.Tensor:
    """Stands for a backbone's preprocessing; it changes no size."""
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)


@pytest.mark.parametrize("augmentation", ["crop", "published"])
def test_the_first_view_is_the_plain_image(augmentation):
    image = tiny_image(size=(SIDE, SIDE))
    assert torch.equal(Views(as_tensor, augmentation, SIDE, 0).pixels(image, [0])[0], as_tensor(image))


@pytest.mark.parametrize("augmentation", ["crop", "published"])
def test_a_view_depends_on_the_image_the_seed_and_its_number_alone(augmentation):
    first, second = (tiny_image(number, size=(SIDE, SIDE)) for number in (1, 2))
    views = Views(as_tensor, augmentation, SIDE, 0)
    together = views.pixels(first, [0, 1, 2])
    torch.manual_seed(77)
    views.pixels(second, [0, 1, 2])
    again = Views(as_tensor, augmentation, SIDE, 0).pixels(first, [2, 1])
    assert torch.equal(again, together[[2, 1]])
    assert not torch.equal(together[1], together[2])
    assert not torch.equal(Views(as_tensor, augmentation, SIDE, 1).pixels(first, [1])[0], together[1])


def test_images_get_random_numbers_of_their_own():
    drawn = []
    views = Views(as_tensor, "flip", SIDE, 0)
    views._other = lambda image: drawn.append(float(torch.rand(()))) or as_tensor(image)
    for number in (1, 2, 1):
        views.pixels(tiny_image(number, size=(SIDE, SIDE)), [1])
    assert drawn[0] == drawn[2] != drawn[1]


def test_views_are_named_by_what_is_done_to_the_image():
    random = [Views(as_tensor, kind, SIDE, seed) for kind in ("crop", "published") for seed in (0, 1)]
    names = [views.name(view) for views in random for view in (0, 1, 2)]
    assert names[::3] == ["plain"] * 4
    assert len(set(names)) == 1 + 2 * 2 * 2
    flips = [Views(as_tensor, "flip", SIDE, seed).name(1) for seed in (0, 1)]
    assert flips == ["flip", "flip"]
