"""What augmentation does to an image, and where its random numbers come from."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from dualcoop.features.augmentation import CROP_AREA, CROP_PROPORTIONS, RandomNumbers, augmented, crop, cutout
from tiny import tiny_image

SIDE = 40


def as_tensor(image: Image.Image) -> torch.Tensor:
    """Stands for a backbone's preprocessing; it changes no size."""
    return torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)


def filled_pixels(seed: int, share: float = 0.5, size: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray:
    """Where Cutout changed an image of a colour that it cannot draw, (height, width)."""
    torch.manual_seed(seed)
    grey = np.full((*size[::-1], 3), 77, dtype=np.uint8)
    return (np.asarray(cutout(Image.fromarray(grey), share)) != grey).any(axis=2)


def test_cutout_fills_one_box_of_at_most_half_the_side():
    areas = []
    for seed in range(60):
        changed = filled_pixels(seed)
        rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
        assert changed.sum() == len(rows) * len(columns)
        assert np.ptp(rows) + 1 == len(rows) <= SIDE // 2
        assert np.ptp(columns) + 1 == len(columns) <= SIDE // 2
        areas.append(changed.sum())
    assert max(areas) == (SIDE // 2) ** 2
    # At the borders it sticks out, so that a quarter of it is left in a corner.
    assert min(areas) < 0.4 * (SIDE // 2) ** 2


def test_cutout_takes_the_shorter_side_of_an_oblong_image():
    areas = [filled_pixels(seed, size=(60, 20)).sum() for seed in range(40)]
    assert max(areas) == 100


def test_cutout_draws_one_colour_and_leaves_the_rest_and_the_argument_alone():
    torch.manual_seed(3)
    image = tiny_image(size=(SIDE, SIDE))
    before = np.asarray(image).copy()
    after = np.asarray(cutout(image))
    assert (np.asarray(image) == before).all()
    changed = (after != before).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    box = after[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].reshape(-1, 3)
    assert len(np.unique(box, axis=0)) == 1


def slanted(size: tuple[int, int]) -> Image.Image:
    """An image that says where its pixels are: red is x and green is y, from 0 at one border to 255 at the other."""
    width, height = size
    red, green = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([red, green, np.full_like(red, 255)], axis=2).round().astype(np.uint8))


def sides(crop: Image.Image) -> list[tuple[float, float]]:
    """Where a crop of `slanted` begins and ends, as shares of width and height, read off its colours."""
    pixels = np.asarray(crop).astype(float) / 255
    # The outermost pixels are averages with fewer neighbours, so the slope is that of those between.
    inner = np.arange(4, SIDE - 4)
    lines = [np.polyfit(inner + 0.5, values[inner], 1) for values in (pixels[:, :, 0].mean(0), pixels[:, :, 1].mean(1))]
    return [(start, start + SIDE * slope) for slope, start in lines]


@pytest.mark.parametrize("size", [(480, 360), (300, 300), (210, 900)])
def test_a_crop_is_a_box_inside_the_image_within_the_limits_of_area_and_proportions(size):
    torch.manual_seed(0)
    image, slack = slanted(size), 0.01
    boxes = [sides(crop(image, SIDE)) for _ in range(60)]
    assert all(-slack < start < end < 1 + slack for box in boxes for start, end in box)
    widths, heights = (np.array([end - start for start, end in each]) for each in zip(*boxes, strict=True))
    areas, proportions = widths * heights, widths / heights
    assert CROP_AREA[0] - slack < areas.min() < 0.6
    assert 0.85 < areas.max() < CROP_AREA[1] + slack
    # Shares of the image's own sides: those of an oblong image are no more distorted than a square one's.
    assert CROP_PROPORTIONS[0] - slack < proportions.min() < 0.85
    assert 1.15 < proportions.max() < CROP_PROPORTIONS[1] + slack


def test_crops_lie_at_every_border():
    torch.manual_seed(0)
    image = slanted((480, 360))
    boxes = np.array([sides(crop(image, SIDE)) for _ in range(100)])
    assert (boxes[:, :, 0].min(axis=0) < 0.02).all()
    assert (boxes[:, :, 1].max(axis=0) > 0.98).all()


def test_nothing_is_put_around_a_crop():
    torch.manual_seed(0)
    image = slanted((48, 36))
    assert all((np.asarray(crop(image, SIDE))[:, :, 2] == 255).all() for _ in range(20))


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (90, 1), (3, 2), (2000, 10)])
def test_a_crop_of_any_image_has_the_size_of_the_input(size):
    torch.manual_seed(0)
    assert all(crop(tiny_image(size=size), SIDE).size == (SIDE, SIDE) for _ in range(10))


def test_a_crop_is_resampled_once_from_the_images_own_pixels():
    """Stripes that the squashed image cannot hold are still there in a crop that enlarges them."""
    stripes = np.zeros((SIDE, 2 * SIDE, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    image = Image.fromarray(stripes)
    torch.manual_seed(0)
    contrasts = [np.asarray(crop(image, SIDE)).astype(float).std() for _ in range(20)]
    squashed = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    assert max(contrasts) > 2 * np.asarray(squashed).astype(float).std()


def test_about_every_second_crop_is_mirrored():
    torch.manual_seed(0)
    transform = augmented(as_tensor, "crop", SIDE)
    image = slanted((480, 360))
    views = [transform(image) for _ in range(60)]
    assert all(view.shape == (3, SIDE, SIDE) and view.dtype == torch.uint8 for view in views)
    mirrored = sum(int(view[0, :, 0].float().mean() > view[0, :, -1].float().mean()) for view in views)
    assert 15 < mirrored < 45


def test_the_preprocessing_finds_nothing_to_resize_in_a_crop():
    seen = []
    augmented(lambda image: seen.append(image.size) or as_tensor(image), "crop", SIDE)(tiny_image(size=(90, 60)))
    assert seen == [(SIDE, SIDE)]


def test_no_augmentation_is_the_preprocessing_itself():
    assert augmented(as_tensor, "none", SIDE) is as_tensor


def test_flip_mirrors_every_image_where_a_plain_view_stands_beside_it():
    image = tiny_image(size=(SIDE, SIDE))
    transform = augmented(as_tensor, "flip", SIDE)
    for _ in range(5):
        assert torch.equal(transform(image), as_tensor(image).flip(-1))


def test_flip_alone_mirrors_about_every_second_image():
    torch.manual_seed(0)
    image = tiny_image(size=(SIDE, SIDE))
    transform = augmented(as_tensor, "flip", SIDE, alone=True)
    plain = sum(torch.equal(transform(image), as_tensor(image)) for _ in range(60))
    assert 15 < plain < 45


@pytest.mark.parametrize("size", [(48, 36), (SIDE, SIDE), (21, 90)])
def test_the_published_chain_gives_the_square_and_changes_the_image(size):
    torch.manual_seed(0)
    image = tiny_image(size=size)
    squashed = as_tensor(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    transform = augmented(as_tensor, "published", SIDE)
    views = [transform(image) for _ in range(6)]
    assert all(view.shape == (3, SIDE, SIDE) and view.dtype == torch.uint8 for view in views)
    assert not any(torch.equal(view, squashed) for view in views)
    assert not torch.equal(views[0], views[1])


def test_the_published_chain_cuts_out_of_the_squashed_image_and_then_augments(monkeypatch):
    """RandAugment stands in as a negative, so that what came before it can be told."""
    monkeypatch.setattr("dualcoop.features.augmentation.v2.RandAugment", lambda: ImageOps.invert)
    image = tiny_image(size=(48, 36))
    squashed = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    torch.manual_seed(6)
    expected = as_tensor(ImageOps.invert(cutout(squashed)))
    torch.manual_seed(6)
    assert torch.equal(augmented(as_tensor, "published", SIDE)(image), expected)
    assert not torch.equal(expected, as_tensor(ImageOps.invert(squashed)))


def test_random_numbers_are_a_stream_of_their_own():
    whole, parts = RandomNumbers(1, 2), RandomNumbers(1, 2)
    with whole.drawn():
        expected = torch.rand(4)
    torch.manual_seed(99)
    outside = torch.rand(3)
    torch.manual_seed(99)
    with parts.drawn():
        first = torch.rand(2)
    assert torch.equal(torch.rand(3), outside)
    with parts.drawn():
        second = torch.rand(2)
    assert torch.equal(torch.cat([first, second]), expected)


def test_random_numbers_depend_on_all_of_their_seed():
    def draw(*entropy: int) -> torch.Tensor:
        with RandomNumbers(*entropy).drawn():
            return torch.rand(2)

    draws = [draw(1, 2), draw(1, 3), draw(2, 2), draw(2**40)]
    assert len({tuple(each.tolist()) for each in draws}) == len(draws)


def test_an_error_while_drawing_gives_the_generator_back():
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    with pytest.raises(ValueError, match="stop"), RandomNumbers(0).drawn():
        raise ValueError("stop")
    assert torch.equal(torch.rand(2), expected)
