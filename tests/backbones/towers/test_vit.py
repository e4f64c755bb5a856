"""Region features of open_clip's vision transformers against attention that is masked to the diagonal."""

from collections.abc import Callable

import open_clip
import pytest
import torch
from open_clip.model import resize_pos_embed
from torch import Tensor

from backbones.tiny_models import CONFIGS, IMAGE_SIZE, assert_towers_agree, random_images, tiny_model
from dualcoop.backbones.loading.open_clip_models import build_open_clip
from dualcoop.backbones.towers.vit import VitTower
from dualcoop.errors import BackboneError

FAMILIES = ("vit", "vit_average")
LARGER = 112


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


def resized(family: str, size: int) -> open_clip.CLIP:
    """The same weights in a model that open_clip made for another size."""
    config = {**CONFIGS[family], "vision_cfg": {**CONFIGS[family]["vision_cfg"], "image_size": size}}
    model = build_open_clip(config)
    state = dict(tiny_model(family).state_dict())
    resize_pos_embed(state, model)
    model.load_state_dict(state)
    return model.eval()


def seen_by_the_last_block(visual: open_clip.model.VisionTransformer, images: Tensor) -> Tensor:
    seen: list[Tensor] = []
    hook: Callable[..., None] = lambda module, inputs: seen.append(inputs[0])  # noqa: E731
    handle = visual.transformer.resblocks[-1].register_forward_pre_hook(hook)
    visual(images)
    handle.remove()
    return seen[0]


@pytest.mark.parametrize("size", [IMAGE_SIZE, LARGER])
def test_regions_are_last_attention_looking_only_at_itself(family: str, size: int) -> None:
    tower = VitTower(tiny_model(family).visual)
    visual = resized(family, size).visual
    images = random_images(size)
    with torch.no_grad():
        tokens = seen_by_the_last_block(visual, images)
        last = visual.transformer.resblocks[-1]
        others = ~torch.eye(tokens.shape[1], dtype=torch.bool)
        normed = last.ln_1(tokens)
        mixed, _ = last.attn(normed, normed, normed, attn_mask=others)
        expected = visual.ln_post(last.ls_1(mixed)[:, 1:]) @ visual.proj
        got = tower.regions(images, global_region=True)
    assert_towers_agree(got[:, 1:], expected)


@pytest.mark.parametrize("size", [IMAGE_SIZE, LARGER, 32])
def test_the_global_region_is_the_image_feature_of_the_resized_model(family: str, size: int) -> None:
    tower = VitTower(tiny_model(family).visual)
    images = random_images(size)
    with torch.no_grad():
        expected = resized(family, size).encode_image(images)
        assert_towers_agree(tower.pooled(images), expected)
        got = tower.regions(images, global_region=True)[:, 0]
    assert_towers_agree(got, expected)


def test_attentional_poolers_are_refused() -> None:
    vision = {**CONFIGS["vit"]["vision_cfg"], "attentional_pool": True, "attn_pooler_heads": 2}
    with pytest.raises(BackboneError, match="attentional pooler"):
        VitTower(build_open_clip({**CONFIGS["vit"], "vision_cfg": vision}).visual)


def test_custom_attention_blocks_are_refused() -> None:
    vision = {**CONFIGS["vit"]["vision_cfg"], "qk_norm": True}
    with pytest.raises(BackboneError, match="custom attention"):
        VitTower(build_open_clip({**CONFIGS["vit"], "vision_cfg": vision}).visual)
