"""create_backbone: every way of saying which model and which weights."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from backbones.tiny_models import (
    CONFIGS,
    assert_towers_agree,
    fake_siglip_tokenizer,
    random_images,
    randomise,
    tiny_backbone,
    tiny_model,
)
from dualcoop.backbones import create_backbone
from dualcoop.backbones.base import Backbone
from dualcoop.backbones.loading import download, names, open_clip_models
from dualcoop.backbones.loading.open_clip_models import build_open_clip
from dualcoop.errors import BackboneError
from reference.openai_checkpoint import random_state, save_plain

TINY_RESNET = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 64, "layers": [1, 2, 1, 1], "width": 8, "patch_size": None},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2},
}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return save_plain(random_state(image_size=64), tmp_path / "weights.pt")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, checkpoint: Path) -> list[str]:
    """open_clip's models shrink to tiny ones, and every download gives the tiny checkpoint."""
    configs = {"RN": TINY_RESNET, "ViT": CONFIGS["vit"]}
    fetched: list[str] = []

    def fetch(name: str, record: Any) -> Path:
        fetched.append(name)
        return checkpoint

    monkeypatch.setattr(names, "model_config", lambda model: configs["RN" if model.startswith("RN") else "ViT"])
    monkeypatch.setattr(download, "fetch_weights", fetch)
    return fetched


def activation(backbone: Backbone) -> list[str]:
    return backbone.configuration()["text"]["activations"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("given", "pretrained", "name"),
    [
        ("RN101", None, "RN101/openai"),
        ("rn50", None, "RN50/openai"),
        ("RN50", "yfcc15m", "RN50/yfcc15m"),
        ("RN50/yfcc15m", None, "RN50/yfcc15m"),
        (" RN50/CC12M ", None, "RN50/cc12m"),
        ("RN50-quickgelu", None, "RN50/openai"),
    ],
)
def test_tags_are_downloaded_under_a_canonical_name(
    small: list[str], given: str, pretrained: str | None, name: str
) -> None:
    backbone = create_backbone(given, pretrained=pretrained)
    assert small == [name]
    assert backbone.name == name
    assert activation(backbone) == ["quick_gelu"]
    assert create_backbone(backbone.name).fingerprint() == backbone.fingerprint()


def test_the_default_is_the_resnet_of_openai_in_float32_on_the_cpu(small: list[str]) -> None:
    backbone = create_backbone("RN101")
    assert {parameter.dtype for parameter in backbone.parameters()} == {torch.float32}
    assert {parameter.device.type for parameter in backbone.parameters()} == {"cpu"}
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert backbone.mean == open_clip.OPENAI_DATASET_MEAN


def test_a_device_can_be_asked_for(small: list[str]) -> None:
    backbone = create_backbone("RN101", device="meta")
    assert {parameter.device.type for parameter in backbone.parameters()} == {"meta"}


@pytest.mark.parametrize("given", ["RN50", "RN50/openai"])
def test_a_local_file_stands_in_for_the_download(small: list[str], given: str, checkpoint: Path) -> None:
    backbone = create_backbone(given, pretrained=checkpoint)
    assert small == []
    assert backbone.name == f"{given}@{checkpoint}"
    assert activation(backbone) == ["quick_gelu"]
    for again in (create_backbone(backbone.name), create_backbone(given, pretrained=str(checkpoint))):
        assert again.name == backbone.name
        assert again.fingerprint() == backbone.fingerprint()


def test_the_same_weights_have_the_same_fingerprint_however_they_are_named(small: list[str], checkpoint: Path) -> None:
    assert create_backbone("RN50").fingerprint() == create_backbone(checkpoint).fingerprint()


def test_the_tag_of_a_local_file_decides_the_activation(small: list[str], tmp_path: Path) -> None:
    path = tmp_path / "vit.safetensors"
    save_file(dict(tiny_model("vit").state_dict()), path)
    assert activation(create_backbone("ViT-B-32/openai", pretrained=path)) == ["quick_gelu"]


def test_a_plain_vit_file_takes_the_activation_of_the_named_architecture(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "vit.safetensors"
    save_file(dict(tiny_model("vit").state_dict()), path)
    for quick_gelu, expected in ((True, "quick_gelu"), (False, "gelu")):
        config = {**CONFIGS["vit"], "quick_gelu": quick_gelu}
        monkeypatch.setattr(names, "model_config", lambda model, config=config: config)
        assert activation(create_backbone("ViT-B-32", pretrained=path)) == [expected]


def test_file_names_with_an_at_sign_stay_file_names(tmp_path: Path) -> None:
    path = save_plain(random_state(image_size=64), tmp_path / "run@3.pt")
    assert create_backbone(str(path)).name == str(path)


def test_names_win_over_files_of_the_same_name(
    small: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "RN50").mkdir()
    assert create_backbone("RN50").name == "RN50/openai"


@pytest.mark.parametrize("family", ["clip_resnet", "vit", "siglip", "mobileclip_fastvit"])
def test_a_folder_in_the_hubs_layout_loads(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_clip_models, "HFTokenizer", lambda *_, **__: fake_siglip_tokenizer)
    model = tiny_model(family)
    save_file(dict(model.state_dict()), tmp_path / "open_clip_model.safetensors")
    pixels = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "interpolation": "bilinear"}
    config = {"model_cfg": CONFIGS[family], "preprocess_cfg": pixels}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    backbone = create_backbone(tmp_path)
    assert backbone.name == str(tmp_path)
    assert backbone.mean == (0.1, 0.2, 0.3)
    expected = tiny_backbone(family, model).encode_regions(random_images())
    assert_towers_agree(backbone.encode_regions(random_images()), expected)
    monkeypatch.setattr(
        download, "fetch_hub_model", lambda repository: (config, tmp_path / "open_clip_model.safetensors")
    )
    from_hub = create_backbone("hf-hub:owner/name")
    assert from_hub.name == "hf-hub:owner/name"
    assert from_hub.fingerprint() == backbone.fingerprint()


def test_open_clips_own_writer_and_reader_agree(tmp_path: Path) -> None:
    """A folder as open_clip pushes it to the hub, read by open_clip and by us."""
    config = CONFIGS["clip_resnet"]
    model = randomise(build_open_clip(config))
    text = {
        "model_cfg": config,
        "preprocess_cfg": {"size": [64, 64], "mode": "RGB", "resize_mode": "shortest"},
    }
    (tmp_path / "open_clip_config.json").write_text(json.dumps(text))
    torch.save(model.state_dict(), tmp_path / "open_clip_pytorch_model.bin")
    theirs = open_clip.create_model(f"local-dir:{tmp_path}")
    ours = create_backbone(str(tmp_path))
    expected = theirs.eval().encode_image(random_images(), normalize=True)
    assert_towers_agree(ours.encode_pooled(random_images()), expected)


def test_unsupported_models_are_refused_before_any_download(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_: Any) -> Path:
        raise AssertionError("downloaded")

    monkeypatch.setattr(download, "fetch_weights", fetch)
    with pytest.raises(BackboneError, match="coca_ViT-B-32 is not supported: it is a captioning model"):
        create_backbone("coca_ViT-B-32")


@pytest.mark.parametrize(
    ("given", "pretrained", "message"),
    [
        ("RN5O", None, "Did you mean RN50"),
        ("RN50/laion", None, r"'laion' is neither a checkpoint file nor a set of weights for RN50"),
        ("RN50", "laion", r"'laion' is neither"),
        ("RN50", "missing.pt", r"missing\.pt: there is no such checkpoint file for RN50"),
        ("RN50@missing", None, "missing: there is no such checkpoint file for RN50"),
        ("RN50/openai", "yfcc15m", "two sets of weights are named, 'openai' and 'yfcc15m'"),
        ("missing.safetensors", None, r"missing\.safetensors: there is no such checkpoint file"),
        ("lite", "openai", "lite comes with its own weights"),
        ("hf-hub:owner/name", "openai", "comes with its own weights"),
        ("", None, "no backbone and no file called ''"),
    ],
)
def test_requests_that_make_no_sense_are_explained(given: str, pretrained: str | None, message: str) -> None:
    with pytest.raises(BackboneError, match=message):
        create_backbone(given, pretrained=pretrained)


@pytest.mark.parametrize("given", ["lite", "LITE"])
def test_lite_is_imported_only_when_asked_for(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    lite = ModuleType("dualcoop.backbones.lite")
    expected = tiny_backbone("vit")
    lite.load_lite = lambda: expected  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dualcoop.backbones.lite", lite)
    assert create_backbone(given) is expected


def test_prompts_can_be_trained_on_a_backbone_made_in_inference_mode(checkpoint: Path) -> None:
    with torch.inference_mode():
        backbone = create_backbone(checkpoint)
    tokens = backbone.tokenize(["a dog"])
    embeddings = backbone.embed_tokens(tokens).clone().requires_grad_()
    backbone.encode_prompts(embeddings, backbone.end_positions(tokens)).sum().backward()
    assert embeddings.grad is not None
    assert len(backbone.fingerprint()) == 64
