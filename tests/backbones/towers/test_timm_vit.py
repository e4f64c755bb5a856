"""Region features of timm's vision transformers against their own layers on one patch at a time."""

from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from backbones.tiny_models import CONFIGS, IMAGE_SIZE, assert_towers_agree, random_images, tiny_model
from dualcoop.backbones.loading.open_clip_models import build_open_clip, image_tower
from dualcoop.backbones.towers.timm_vit import TimmVitTower
from dualcoop.errors import BackboneError

LARGER = 112
FAMILIES = ("siglip", "mobileclip_vit")


def resized(family: str, size: int) -> Any:
    """The same weights in a trunk that timm resized for good."""
    visual = tiny_model(family).visual
    visual.set_input_size(size)
    return visual.eval()


@pytest.mark.parametrize("size", [IMAGE_SIZE, LARGER])
def test_siglip_regions_are_what_the_pooling_head_gives_for_one_patch(size: int) -> None:
    tower = TimmVitTower(tiny_model("siglip").visual)
    visual = resized("siglip", size)
    images = random_images(size)
    with torch.no_grad():
        patches = visual.trunk.forward_features(images)
        expected = torch.stack([visual.trunk.attn_pool(patch[:, None]) for patch in patches.unbind(1)], dim=1)
        got = tower.regions(images, global_region=False)
    assert_towers_agree(got, expected)


@pytest.mark.parametrize("size", [IMAGE_SIZE, LARGER])
def test_mobileclip_regions_are_last_attention_looking_only_at_itself(size: int) -> None:
    tower = TimmVitTower(tiny_model("mobileclip_vit").visual)
    visual = resized("mobileclip_vit", size)
    trunk = visual.trunk
    images = random_images(size)
    with torch.no_grad():
        tokens = trunk.norm_pre(trunk._pos_embed(trunk.patch_embed(images)))
        tokens = trunk.blocks[0](tokens)
        last = trunk.blocks[-1]
        single = [last.ls1(last.attn(last.norm1(patch[:, None])))[:, 0] for patch in tokens[:, 1:].unbind(1)]
        expected = visual.head(trunk.head(trunk.fc_norm(trunk.norm(torch.stack(single, dim=1)))))
        got = tower.regions(images, global_region=False)
    assert_towers_agree(got, expected)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [IMAGE_SIZE, LARGER, 32])
def test_the_global_region_is_the_image_feature_of_the_resized_model(family: str, size: int) -> None:
    tower = TimmVitTower(tiny_model(family).visual)
    images = random_images(size)
    with torch.no_grad():
        expected = resized(family, size)(images)
        assert_towers_agree(tower.pooled(images), expected)
        got = tower.regions(images, global_region=True)[:, 0]
    assert_towers_agree(got, expected)


def test_an_own_size_off_the_stride_drops_the_rest_of_the_image() -> None:
    """SigLIP's So400m has patches of 14 and was made for 384 pixels."""
    visual = tiny_model("siglip").visual
    visual.image_size = (70, 70)
    tower = TimmVitTower(visual)
    assert tower.grid_size(70) == (4, 4)
    images = random_images(70)
    with torch.no_grad():
        got = tower.regions(images, global_region=True)
        expected = tower.regions(images[..., :64, :64], global_region=True)
    assert_towers_agree(got, expected)


def test_registers_stay_out_of_the_regions() -> None:
    visual = tiny_model("mobileclip_vit").visual
    shape = {"img_size": 32, "patch_size": 16, "embed_dim": 24, "depth": 2, "num_heads": 2}
    visual.trunk = VisionTransformer(**shape, reg_tokens=3, no_embed_class=True, num_classes=32)
    visual.image_size = (32, 32)
    nn.init.normal_(visual.trunk.reg_token)
    tower = TimmVitTower(visual.eval())
    with torch.no_grad():
        regions = tower.regions(random_images(64), global_region=True)
        assert regions.shape == (2, 17, 32)
        visual.trunk.set_input_size(64)
        assert_towers_agree(regions[:, 0], visual(random_images(64)))


def test_other_attention_pools_are_refused() -> None:
    visual = tiny_model("siglip").visual
    visual.trunk.attn_pool = nn.Identity()
    with pytest.raises(BackboneError, match="pooled by Identity"):
        TimmVitTower(visual)


def test_other_towers_of_timm_are_refused_with_what_is_supported() -> None:
    vision = {**CONFIGS["convnext"]["vision_cfg"], "timm_model_name": "test_efficientnet"}
    model = build_open_clip({**CONFIGS["convnext"], "vision_cfg": vision})
    with pytest.raises(BackboneError, match=r"EfficientNet are not supported.*SigLIP 2"):
        image_tower(model.visual)
