"""Images through a tower a few at a time, against all at once."""

import pytest
import torch
from torch import Tensor

from backbones.tiny_models import assert_towers_agree, tiny_backbone
from dualcoop.backbones.frozen import image_passes
from dualcoop.backbones.frozen.image_passes import FEWEST, in_passes


class Encoder:
    """Squares, and notes how many images came together."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, images: Tensor) -> Tensor:
        self.sizes.append(len(images))
        return images.flatten(1).square()


@pytest.mark.parametrize(
    ("count", "side", "autocast", "sizes"),
    [
        (9, 320, False, [2, 2, 2, 2, 1]),
        (9, 320, True, [4, 4, 1]),
        (5, 224, False, [4, 1]),
        (3, 640, False, [FEWEST, 1]),
        (0, 32, False, [0]),
    ],
)
def test_passes_have_about_as_many_pixels_whatever_the_size(
    count: int, side: int, autocast: bool, sizes: list[int]
) -> None:
    images, encode = torch.rand(count, 3, side, side), Encoder()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = in_passes(encode, images)
    assert encode.sizes == sizes
    assert torch.equal(found, images.flatten(1).square())


def test_an_accelerator_gets_the_whole_batch() -> None:
    encode = Encoder()
    in_passes(encode, torch.empty(64, 3, 320, 320, device="meta"))
    assert encode.sizes == [64]


def test_values_and_gradients_of_a_tower_do_not_depend_on_the_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = tiny_backbone("clip_resnet")
    results = []
    for limit in (image_passes.PASS_BYTES, 1):
        monkeypatch.setattr(image_passes, "PASS_BYTES", limit)
        images = torch.rand(5, 3, 64, 64, generator=torch.Generator().manual_seed(1)).requires_grad_()
        regions = backbone.encode_regions(images)
        regions[..., 0].sum().backward()
        results.append((regions, images.grad))
    for found, expected in zip(*results, strict=True):
        assert_towers_agree(found, expected)
