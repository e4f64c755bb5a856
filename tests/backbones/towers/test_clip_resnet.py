"""CLIP ResNets at other sizes; the numbers themselves are compared in tests/reference."""

import pytest
import torch
from torch.nn import functional

from backbones.tiny_models import IMAGE_SIZE, assert_towers_agree, random_images, tiny_backbone, tiny_model, unit
from dualcoop.backbones.towers.clip_resnet import ClipResNetTower


@pytest.fixture(scope="module")
def tower() -> ClipResNetTower:
    return ClipResNetTower(tiny_model("clip_resnet").visual)


def test_the_own_size_is_read_off_the_positions(tower: ClipResNetTower) -> None:
    assert tower.image_size == IMAGE_SIZE
    assert tower.grid_size(IMAGE_SIZE) == (2, 2)


def test_a_uniform_map_with_uniform_positions_gives_equal_regions() -> None:
    """Interpolation keeps a constant grid constant, so only the mean token's own position may differ."""
    tower = ClipResNetTower(tiny_model("clip_resnet").visual)
    positions = tower.visual.attnpool.positional_embedding
    with torch.no_grad():
        positions[1:] = positions[1]
    features = torch.ones(1, 256, 5, 5)
    tower.features = lambda images: features  # type: ignore[method-assign]
    with torch.no_grad():
        regions = tower.regions(random_images(), global_region=True)[0]
    assert_towers_agree(regions[1:], regions[1].expand(25, -1))
    assert not torch.allclose(regions[0], regions[1], atol=1e-3)


def test_the_global_region_is_the_projected_mean_token(tower: ClipResNetTower) -> None:
    visual = tower.visual
    images = random_images(96)
    with torch.no_grad():
        features = visual.layer4(visual.layer3(visual.layer2(visual.layer1(visual.stem(images)))))
        mean = features.mean(dim=(2, 3)) + visual.attnpool.positional_embedding[0]
        expected = visual.attnpool.c_proj(visual.attnpool.v_proj(mean))
        assert_towers_agree(tower.regions(images, global_region=True)[:, 0], expected)


def test_pooling_at_twice_the_size_averages_the_map_two_by_two(tower: ClipResNetTower) -> None:
    visual = tower.visual
    images = random_images(2 * IMAGE_SIZE)
    with torch.no_grad():
        features = visual.layer4(visual.layer3(visual.layer2(visual.layer1(visual.stem(images)))))
        expected = visual.attnpool(functional.avg_pool2d(features, 2))
        assert_towers_agree(tower.pooled(images), expected)


@pytest.mark.parametrize("size", [32, 96, 160])
def test_any_multiple_of_32_works(size: int) -> None:
    backbone = tiny_backbone("clip_resnet")
    cells = (size // 32) ** 2
    assert backbone.encode_regions(random_images(size)).shape == (2, cells + 1, backbone.embed_dim)
    assert backbone.encode_pooled(random_images(size)).shape == (2, backbone.embed_dim)


def test_features_do_not_depend_on_the_rest_of_the_batch() -> None:
    backbone = tiny_backbone("clip_resnet")
    images = random_images(count=3)
    together = backbone.encode_regions(images)
    alone = torch.cat([backbone.encode_regions(image[None]) for image in images])
    assert_towers_agree(together, unit(alone))
