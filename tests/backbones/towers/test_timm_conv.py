"""Region features of convolutional towers against their head on one position at a time."""

import pytest
import torch
from torch import Tensor

from backbones.tiny_models import assert_towers_agree, random_images, tiny_model
from dualcoop.backbones.towers.timm_conv import TimmConvTower


@pytest.mark.parametrize("family", ["mobileclip_fastvit", "convnext"])
def test_a_region_is_the_head_on_one_position(family: str) -> None:
    tower = TimmConvTower(tiny_model(family).visual)
    visual = tower.visual
    images = random_images(96)
    with torch.no_grad():
        features: Tensor = visual.trunk.forward_features(images)
        rows, columns = features.shape[-2:]
        assert (rows, columns) == tower.grid_size(96) == (3, 3)
        crops = [features[:, :, row : row + 1, column : column + 1] for row in range(rows) for column in range(columns)]
        expected = torch.stack([visual.head(visual.trunk.forward_head(crop)) for crop in crops], dim=1)
        got = tower.regions(images, global_region=True)
    assert_towers_agree(got[:, 1:], expected)
    assert_towers_agree(got[:, 0], visual(images))
