"""Towers with merged layers, against the same towers as they are."""

import copy
import pickle

import pytest
import torch
from open_clip.modified_resnet import Bottleneck
from open_clip.transformer import QuickGELU
from open_clip.utils import freeze_batch_norm_2d
from timm.layers import Conv2dSame
from torch import nn
from torch.autograd import forward_ad
from torch.nn.functional import normalize

from backbones.tiny_models import CONFIGS, assert_towers_agree, random_images, tiny_backbone
from dualcoop.backbones import create_backbone
from dualcoop.backbones.frozen import folding
from dualcoop.backbones.frozen.folding import folded
from dualcoop.backbones.frozen.fused_convolution import FusedConvolution, fuses
from dualcoop.backbones.frozen.inference_copy import InferenceCopy, recorded
from dualcoop.backbones.towers.two_towers import TwoTowerBackbone


@pytest.fixture(params=CONFIGS)
def backbone(request: pytest.FixtureRequest) -> TwoTowerBackbone:
    return tiny_backbone(request.param)


@pytest.fixture
def resnet() -> TwoTowerBackbone:
    return tiny_backbone("clip_resnet")


def unfolded_regions(backbone: TwoTowerBackbone, images: torch.Tensor) -> torch.Tensor:
    return normalize(backbone.image.regions(images, global_region=True), dim=-1)


def test_folded_regions_equal_those_of_the_unfolded_twin(backbone: TwoTowerBackbone) -> None:
    images = random_images()
    expected = unfolded_regions(backbone, images)
    assert_towers_agree(backbone.encode_regions(images), expected)


def test_folded_pooling_equals_that_of_the_unfolded_twin(backbone: TwoTowerBackbone) -> None:
    images = random_images()
    expected = normalize(backbone.image.pooled(images), dim=-1)
    assert_towers_agree(backbone.encode_pooled(images), expected)


def test_gradients_of_the_pixels_equal_those_of_the_unfolded_twin(backbone: TwoTowerBackbone) -> None:
    weights = torch.randn(2, 1, backbone.embed_dim, generator=torch.Generator().manual_seed(3))
    gradients = []
    for encode in (backbone.encode_regions, lambda images: unfolded_regions(backbone, images)):
        images = random_images().requires_grad_()
        (encode(images) * weights).sum().backward()
        assert images.grad is not None
        gradients.append(images.grad)
    assert_towers_agree(*gradients)


def test_no_batch_norm_is_left_behind_a_convolution(resnet: TwoTowerBackbone) -> None:
    assert any(isinstance(module, nn.BatchNorm2d) for module in resnet.image.modules())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded(resnet.image).modules())


def test_what_follows_a_convolution_is_done_by_it(resnet: TwoTowerBackbone) -> None:
    if not fuses("cpu", torch.float32):
        pytest.skip("this torch has no fused convolutions")
    twin = folded(resnet.image)
    assert not any(isinstance(module, Bottleneck) for module in twin.modules())
    inside = {part for module in twin.modules() if isinstance(module, FusedConvolution) for part in module.modules()}
    assert [module for module in twin.modules() if isinstance(module, nn.ReLU) and module not in inside] == []


def test_without_fused_convolutions_the_layers_stay(resnet: TwoTowerBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "fuses", lambda *_: False)
    twin = folded(resnet.image)
    assert not any(isinstance(module, FusedConvolution) for module in twin.modules())
    images = random_images()
    expected = unfolded_regions(resnet, images)
    found = normalize(twin.regions(images, global_region=True), dim=-1)
    assert_towers_agree(found, expected)


def test_norms_that_are_no_batch_norm_stay_where_they_are(resnet: TwoTowerBackbone) -> None:
    tower = resnet.image
    tower.visual = freeze_batch_norm_2d(tower.visual)
    images = random_images()
    expected = unfolded_regions(resnet, images)
    assert_towers_agree(resnet.encode_regions(images), expected)


@pytest.mark.parametrize("name", ["act1", "act3"])
def test_blocks_with_other_activations_stay_as_they_are(resnet: TwoTowerBackbone, name: str) -> None:
    setattr(resnet.image.visual.layer4[-1], name, nn.GELU())
    images = random_images()
    expected = unfolded_regions(resnet, images)
    assert_towers_agree(resnet.encode_regions(images), expected)


@pytest.mark.filterwarnings("ignore")
def test_transforms_of_torch_see_the_tower_itself(resnet: TwoTowerBackbone) -> None:
    images = random_images()

    def encode(some: torch.Tensor) -> torch.Tensor:
        return resnet.encode_regions(some)

    def slow(some: torch.Tensor) -> torch.Tensor:
        return unfolded_regions(resnet, some)

    direction = torch.ones_like(images)
    for mine, theirs in zip(*(torch.func.jvp(each, (images,), (direction,)) for each in (encode, slow)), strict=True):
        assert_towers_agree(mine, theirs)
    traced = torch.jit.trace(encode, images, check_trace=False)
    assert_towers_agree(traced(images), slow(images))


def test_towers_of_other_precision_are_folded_too(resnet: TwoTowerBackbone) -> None:
    tower = resnet.image.double()
    images = random_images().double()
    found, expected = (each.regions(images, global_region=True) for each in (folded(tower), tower))
    assert_towers_agree(found, expected)


def test_lite_with_uneven_padding_and_relu6_equals_its_unfolded_twin() -> None:
    tower = create_backbone("lite").image
    twin = folded(tower)
    if fuses("cpu", torch.float32):
        assert not any(isinstance(module, Conv2dSame) for module in twin.modules())
    images = torch.randn(3, 3, 96, 96, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        found, expected = (each.regions(images, global_region=True) for each in (twin, tower))
    assert_towers_agree(found, expected)


def test_no_attention_of_torch_is_left() -> None:
    for tower in (tiny_backbone("vit").image, tiny_backbone("siglip").text):
        assert any(isinstance(module, nn.MultiheadAttention) for module in tower.modules())
        assert not any(isinstance(module, nn.MultiheadAttention) for module in folded(tower).modules())


def test_tensors_that_stay_the_same_are_shared(resnet: TwoTowerBackbone) -> None:
    twin = folded(resnet.image)
    assert twin.visual.attnpool.positional_embedding is resnet.image.visual.attnpool.positional_embedding


def test_autocast_stays_near_float32_and_gives_float32(backbone: TwoTowerBackbone) -> None:
    images = random_images()
    expected = unfolded_regions(backbone, images)
    with torch.autocast("cpu", torch.bfloat16):
        found = backbone.encode_regions(images)
    assert found.dtype == torch.float32
    assert float((found * expected).sum(-1).min()) > 0.99


def test_fingerprint_state_and_parameters_are_those_of_the_unfolded_tower(resnet: TwoTowerBackbone) -> None:
    before, names = resnet.fingerprint(), list(resnet.state_dict())
    resnet.encode_regions(random_images())
    assert list(resnet.state_dict()) == names
    assert resnet.fingerprint() == before


def test_a_changed_tensor_is_folded_anew(resnet: TwoTowerBackbone) -> None:
    images = random_images()
    before = resnet.encode_regions(images)
    with torch.no_grad():
        resnet.image.visual.bn1.running_mean.add_(0.5)
    after = resnet.encode_regions(images)
    assert not torch.allclose(after, before, atol=1e-3)
    assert_towers_agree(after, unfolded_regions(resnet, images))


def test_a_copy_is_made_once_for_each_precision(resnet: TwoTowerBackbone) -> None:
    keeper = InferenceCopy()
    plain = keeper.of(resnet.image, "cpu")
    with torch.autocast("cpu", torch.bfloat16):
        lower = keeper.of(resnet.image, "cpu")
    assert lower is not plain
    assert keeper.of(resnet.image, "cpu") is plain
    with torch.autocast("cpu", torch.bfloat16):
        assert keeper.of(resnet.image, "cpu") is lower


def test_a_learnable_tower_is_used_as_it_is(resnet: TwoTowerBackbone) -> None:
    resnet.encode_regions(random_images())
    weight = resnet.image.visual.layer1[0].conv1.weight.requires_grad_()
    resnet.encode_regions(random_images())[..., 0].sum().backward()
    assert weight.grad is not None


def test_values_learned_behind_the_version_counters_back_are_seen(resnet: TwoTowerBackbone) -> None:
    """As a fused optimizer writes them: between a frozen use before and one after."""
    images = random_images()
    resnet.encode_regions(images)
    weight = resnet.image.visual.layer1[0].conv1.weight.requires_grad_()
    resnet.encode_regions(images)
    weight.data.mul_(2)
    weight.requires_grad_(False)
    assert_towers_agree(resnet.encode_regions(images), unfolded_regions(resnet, images))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda keeper: pickle.loads(pickle.dumps(keeper))])
def test_copies_of_the_owner_start_without_one(resnet: TwoTowerBackbone, duplicate) -> None:
    keeper = InferenceCopy()
    keeper.of(resnet.image, "cpu")
    assert duplicate(keeper)._copies is None


def test_a_copy_made_in_inference_mode_serves_where_gradients_are_wanted(resnet: TwoTowerBackbone) -> None:
    with torch.inference_mode():
        resnet.encode_regions(random_images())
    images = random_images().requires_grad_()
    resnet.encode_regions(images).sum().backward()
    assert images.grad is not None


def prompts_of(backbone: TwoTowerBackbone) -> tuple[torch.Tensor, torch.Tensor]:
    tokens = backbone.tokenize(["a photo of a dog", "sky", "two small boats"])
    embeddings = backbone.embed_tokens(tokens).detach()
    return embeddings.requires_grad_(), backbone.end_positions(tokens)


def text_features_and_gradient(backbone: TwoTowerBackbone, *, frozen: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Of the copy, or of the tower itself."""
    embeddings, ends = prompts_of(backbone)
    features = (
        backbone.encode_prompts(embeddings, ends) if frozen else normalize(backbone.text(embeddings, ends), dim=-1)
    )
    weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(4))
    (gradient,) = torch.autograd.grad((features * weights).sum(), embeddings)
    return features.detach(), gradient


def test_text_features_and_gradients_equal_those_of_the_tower_itself(backbone: TwoTowerBackbone) -> None:
    got = text_features_and_gradient(backbone, frozen=True)
    expected = text_features_and_gradient(backbone, frozen=False)
    for mine, slow in zip(got, expected, strict=True):
        assert float((mine - slow).norm() / slow.norm()) < 1e-5


def test_text_features_under_autocast_are_as_near_to_float32_as_those_of_the_tower_itself(
    backbone: TwoTowerBackbone,
) -> None:
    expected = text_features_and_gradient(backbone, frozen=False)
    with torch.autocast("cpu", torch.bfloat16):
        got = text_features_and_gradient(backbone, frozen=True)
        cast_each_time = text_features_and_gradient(backbone, frozen=False)
    for mine, theirs, exact in zip(got, cast_each_time, expected, strict=True):
        assert float((mine - exact).norm()) < 1.5 * float((theirs - exact).norm())


def test_a_causal_tower_without_quick_gelu_gives_the_same_bits_under_autocast() -> None:
    backbone = tiny_backbone("convnext")
    with torch.autocast("cpu", torch.bfloat16):
        got = text_features_and_gradient(backbone, frozen=True)
        expected = text_features_and_gradient(backbone, frozen=False)
    for mine, theirs in zip(got, expected, strict=True):
        assert torch.equal(mine, theirs)


def test_no_quick_gelu_is_left_and_its_weights_are_cast_once(resnet: TwoTowerBackbone) -> None:
    assert any(isinstance(module, QuickGELU) for module in resnet.text.modules())
    twin = folded(resnet.text, torch.bfloat16)
    assert not any(isinstance(module, QuickGELU) for module in twin.modules())
    block = twin.transformer.resblocks[0]
    assert {block.mlp.c_fc.weight.dtype, block.attn.in_proj_weight.dtype, block.attn.out_proj.weight.dtype} == {
        torch.bfloat16
    }
    assert block.ln_1.weight is resnet.text.transformer.resblocks[0].ln_1.weight


def test_a_learnable_text_tower_is_used_as_it_is(resnet: TwoTowerBackbone) -> None:
    embeddings, ends = prompts_of(resnet)
    resnet.encode_prompts(embeddings, ends)
    weight = resnet.text.transformer.resblocks[0].mlp.c_fc.weight.requires_grad_()
    resnet.encode_prompts(embeddings, ends)[..., 0].sum().backward()
    assert weight.grad is not None


def test_prompts_go_through_the_folded_copy(resnet: TwoTowerBackbone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QuickGELU, "forward", lambda *_: pytest.fail("the tower itself was run"))
    resnet.encode_prompts(*prompts_of(resnet))


def test_a_replaced_weight_of_the_text_tower_is_seen_in_bfloat16() -> None:
    """Its memory is free for the next weight, which would look like it."""
    backbone = tiny_backbone("convnext")
    mlp = backbone.text.transformer.resblocks[0].mlp.c_fc
    with torch.autocast("cpu", torch.bfloat16):
        for factor in (2.0, 3.0, 0.5):
            text_features_and_gradient(backbone, frozen=True)
            shape = mlp.weight.shape
            del mlp.weight
            mlp.weight = nn.Parameter(factor * torch.randn(shape), requires_grad=False)
            got = text_features_and_gradient(backbone, frozen=True)
            expected = text_features_and_gradient(backbone, frozen=False)
            assert torch.equal(got[0], expected[0])


class Stem(nn.Sequential):
    """A container whose constructor wants something else, as timm has them."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.Linear(width, 2 * width), QuickGELU(), nn.Linear(2 * width, width))


def test_containers_with_constructors_of_their_own_are_folded() -> None:
    stem = Stem(4).requires_grad_(False).eval()
    given = torch.randn(3, 4)
    twin = folded(nn.ModuleList([stem]))[0]
    assert type(twin[1]) is nn.SiLU
    assert_towers_agree(twin(given), stem(given))


@pytest.mark.parametrize("way", [torch.func.vmap, torch.func.grad])
def test_transforms_are_told_from_plain_use(way) -> None:
    seen = []

    def function(x: torch.Tensor) -> torch.Tensor:
        seen.append(recorded())
        return x.sum()

    function(torch.ones(2))
    way(function)(torch.ones(2))
    with forward_ad.dual_level():
        function(torch.ones(2))
    assert seen == [False, True, True]


def test_without_torchs_private_names_the_tower_itself_is_used(
    resnet: TwoTowerBackbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(torch._C, "_are_functorch_transforms_active")
    assert InferenceCopy().of(resnet.image, "cpu") is resnet.image
    images = random_images()
    assert torch.equal(resnet.encode_regions(images), unfolded_regions(resnet, images))


def test_a_tower_made_in_inference_mode_is_folded_anew_after_a_change() -> None:
    with torch.inference_mode():
        stem = Stem(4).requires_grad_(False).eval()
        keeper, given = InferenceCopy(), torch.randn(3, 4)
        keeper.of(stem, "cpu")
        stem[0].weight.mul_(2)
        assert_towers_agree(keeper.of(stem, "cpu")(given), stem(given))
