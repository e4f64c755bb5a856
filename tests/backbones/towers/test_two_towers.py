"""What every supported family promises, on tiny random models."""

from collections.abc import Iterator

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from backbones.tiny_models import CONFIGS, IMAGE_SIZE, assert_towers_agree, random_images, tiny_backbone, tiny_model
from dualcoop.backbones.towers.two_towers import (
    ImageTower,
    TwoTowerBackbone,
    contrastive_scales,
)
from dualcoop.errors import BackboneError
from tolerances import assert_agree

TEXTS = ["dog", "two cats", "a"]
STRIDES = {"clip_resnet": 32, "mobileclip_fastvit": 32, "convnext": 32}
OTHER_SIZE = 128


@pytest.fixture(scope="module", params=CONFIGS)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(family: str) -> nn.Module:
    return tiny_model(family)


@pytest.fixture(scope="module")
def backbone(family: str, model: nn.Module) -> TwoTowerBackbone:
    return tiny_backbone(family, model)


@pytest.fixture(params=[IMAGE_SIZE, OTHER_SIZE])
def images(request: pytest.FixtureRequest) -> Tensor:
    return random_images(request.param)


def test_regions_cover_the_grid_with_the_global_region_first(
    backbone: TwoTowerBackbone, family: str, images: Tensor
) -> None:
    side = images.shape[-1] // STRIDES.get(family, 16)
    assert backbone.grid_size(images.shape[-1]) == (side, side)
    everything = backbone.encode_regions(images)
    assert everything.shape == (2, side * side + 1, backbone.embed_dim)
    assert_towers_agree(everything.norm(dim=-1), torch.ones(2, side * side + 1))
    grid = backbone.encode_regions(images, global_region=False)
    assert_towers_agree(grid, everything[:, 1:])


def test_every_region_is_different(backbone: TwoTowerBackbone) -> None:
    regions = backbone.encode_regions(random_images(OTHER_SIZE, count=1))[0]
    distances = torch.cdist(regions, regions) + torch.eye(len(regions))
    assert float(distances.min()) > 1e-3


def test_regions_follow_the_image(backbone: TwoTowerBackbone) -> None:
    """A change in the lower right corner moves the last region more than the first one."""
    before, after = random_images(OTHER_SIZE, count=1), random_images(OTHER_SIZE, count=1)
    after[..., -16:, -16:] += 3
    moved = (backbone.encode_regions(after) - backbone.encode_regions(before)).norm(dim=-1)[0, 1:]
    assert float(moved[-1]) > float(moved[0])


def test_pooled_features_are_the_models_own(backbone: TwoTowerBackbone, model: nn.Module) -> None:
    images = random_images()
    expected = model.encode_image(images, normalize=True)
    assert_towers_agree(backbone.encode_pooled(images), expected)


def test_text_features_are_the_models_own(backbone: TwoTowerBackbone, model: nn.Module) -> None:
    expected = model.encode_text(backbone.tokenize(TEXTS), normalize=True)
    assert_towers_agree(backbone.encode_text(TEXTS), expected)


def test_gradients_reach_the_prompt_embeddings_and_nothing_else(backbone: TwoTowerBackbone) -> None:
    tokens = backbone.tokenize(TEXTS)
    embeddings = backbone.embed_tokens(tokens).detach().requires_grad_()
    features = backbone.encode_prompts(embeddings, backbone.end_positions(tokens))
    (features * torch.randn(features.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
    assert embeddings.grad is not None
    assert float(embeddings.grad[:, backbone.context_start].abs().min()) > 0
    assert all(parameter.grad is None for parameter in backbone.parameters())


def test_a_parent_in_training_mode_leaves_the_backbone_frozen(backbone: TwoTowerBackbone) -> None:
    parent = nn.ModuleList([backbone]).train()
    assert not any(module.training for module in backbone.modules())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    buffers = {name: value.clone() for name, value in backbone.named_buffers()}
    parent[0].encode_regions(random_images(seed=5))
    assert all(torch.equal(value, buffers[name]) for name, value in backbone.named_buffers())


def test_sizes_off_the_stride_are_refused_with_the_nearest_ones(backbone: TwoTowerBackbone, family: str) -> None:
    stride = STRIDES.get(family, 16)
    size = OTHER_SIZE + 1
    with pytest.raises(BackboneError, match=f"{size}.*multiple of {stride}.*image_size={OTHER_SIZE} or"):
        backbone.grid_size(size)
    with pytest.raises(BackboneError, match=f"multiple of {stride}"):
        backbone.encode_regions(random_images(size))
    with pytest.raises(BackboneError, match=f"multiple of {stride}"):
        backbone.preprocess(size)


def test_images_of_another_shape_are_refused(backbone: TwoTowerBackbone) -> None:
    for images in (torch.zeros(1, 3, 64, 128), torch.zeros(3, 64, 64), torch.zeros(1, 1, 64, 64)):
        with pytest.raises(BackboneError, match=r"expected \(B, 3, S, S\)"):
            backbone.encode_regions(images)
        with pytest.raises(BackboneError, match=r"expected \(B, 3, S, S\)"):
            backbone.encode_pooled(images)


def test_images_go_in_squashed_at_the_backbones_own_size(backbone: TwoTowerBackbone) -> None:
    image = Image.new("RGB", (90, 50), (10, 200, 60))
    tensor = backbone.preprocess()(image)
    assert tensor.shape == (3, IMAGE_SIZE, IMAGE_SIZE)
    colour = torch.tensor([10, 200, 60]) / 255
    expected = (colour - torch.tensor(backbone.mean)) / torch.tensor(backbone.std)
    assert_agree(tensor[:, 3, 60], expected, terms=4)


def test_pooling_parameters_are_part_of_the_image_tower_and_change_the_regions(family: str) -> None:
    backbone = tiny_backbone(family)
    before = backbone.encode_regions(random_images())
    pooling = list(backbone.image.pooling_parameters())
    own = {id(parameter) for parameter in backbone.image.parameters()}
    assert pooling
    assert all(id(parameter) in own for parameter in pooling)
    with torch.no_grad():
        for parameter in pooling:
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    assert not torch.allclose(backbone.encode_regions(random_images()), before, atol=1e-2)


def test_the_image_tower_can_be_fine_tuned(family: str) -> None:
    backbone = tiny_backbone(family)
    backbone.image.requires_grad_(True)
    backbone.encode_regions(random_images())[:, :, 0].sum().backward()
    assert any(float(parameter.grad.abs().sum()) > 0 for parameter in backbone.image.pooling_parameters())


def test_fingerprints_tell_models_and_settings_apart(family: str) -> None:
    backbone = tiny_backbone(family)
    assert backbone.fingerprint() == tiny_backbone(family).fingerprint()
    other_weights = tiny_backbone(family, tiny_model(family, seed=1))
    assert backbone.fingerprint() != other_weights.fingerprint()
    other_pixels = tiny_backbone(family)
    other_pixels.mean = (0.5, 0.5, 0.5)
    assert backbone.fingerprint() != other_pixels.fingerprint()


def test_the_fingerprint_follows_a_change_of_the_weights() -> None:
    backbone = tiny_backbone("clip_resnet")
    before = backbone.fingerprint()
    with torch.no_grad():
        backbone.image.visual.attnpool.c_proj.bias[0] += 1
    assert backbone.fingerprint() != before


def test_the_fingerprint_follows_a_fused_optimizer() -> None:
    backbone = tiny_backbone("clip_resnet")
    before = backbone.fingerprint()
    weight = backbone.image.visual.attnpool.c_proj.weight.requires_grad_(True)
    weight.sum().backward()
    torch.optim.AdamW([weight], lr=0.1, fused=True).step()
    assert backbone.fingerprint() != before


def test_the_fingerprint_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = tiny_backbone("vit")
    first = backbone.fingerprint()

    def refuse(*_: object) -> str:
        raise AssertionError("hashed again")

    monkeypatch.setattr("dualcoop.backbones.towers.two_towers.fingerprint", refuse)
    assert backbone.fingerprint() == first


def test_towers_with_different_joint_spaces_are_refused() -> None:
    one, other = tiny_backbone("vit"), tiny_backbone("clip_resnet")

    class Half(ImageTower):
        kind, embed_dim, image_size = "half", 16, 64
        grid_size = features = local = overall = pooling_parameters = None  # type: ignore[assignment]

    with pytest.raises(BackboneError, match=r"16 dimensions.*32"):
        TwoTowerBackbone(name="odd", image=Half(), text=one.text, tokenizer=other.tokenizer, mean=one.mean, std=one.std)


class SizedTower(ImageTower):
    """Knows its sizes alone."""

    def __init__(self, stride: int, image_size: int) -> None:
        super().__init__()
        self.stride, self.image_size = stride, image_size

    def features(self, images: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError

    local = overall = features

    def pooling_parameters(self) -> Iterator[nn.Parameter]:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("size", "stride", "own", "expected"),
    [(224, 32, 96, (7, 7)), (32, 32, 96, (1, 1)), (384, 14, 384, (27, 27)), (378, 14, 384, (27, 27))],
)
def test_the_grid_follows_from_size_and_stride(size: int, stride: int, own: int, expected: tuple[int, int]) -> None:
    assert SizedTower(stride, own).grid_size(size) == expected


@pytest.mark.parametrize(
    ("size", "remedy"),
    [(0, "image_size=32"), (-32, "image_size=32"), (31, "image_size=32"), (100, "image_size=96 or image_size=128")],
)
def test_sizes_that_fit_are_named(size: int, remedy: str) -> None:
    with pytest.raises(BackboneError, match=f"image_size is {size}, .* multiple of 32 pixels. Give {remedy}.$"):
        SizedTower(32, 224).grid_size(size)


def test_scales_of_softmax_trained_models_are_the_published_constants() -> None:
    assert contrastive_scales(torch.tensor(2.0), None) == (20.0, 100.0, 0.0)


def test_scales_of_sigmoid_trained_models_come_from_the_checkpoint() -> None:
    spatial, scale, bias = contrastive_scales(torch.tensor([4.7649]), torch.tensor([-12.93]))
    assert scale == pytest.approx(117.32, abs=0.01)
    assert spatial == pytest.approx(scale / 5)
    assert bias == pytest.approx(-12.93)
