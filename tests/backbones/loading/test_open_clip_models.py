"""Which open_clip models can become a backbone."""

from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor, nn

from backbones.tiny_models import CLIP_TEXT, CONFIGS, fake_siglip_tokenizer, tiny_model, tiny_tokenizer
from dualcoop.backbones.loading import open_clip_models
from dualcoop.backbones.loading.open_clip_models import (
    build_open_clip,
    build_tokenizer,
    check_supported,
    image_tower,
    unsupported_reason,
    wrap_open_clip,
)
from dualcoop.backbones.text.tower import TextTower
from dualcoop.errors import BackboneError

REAL = {
    "RN101": ("clip_resnet", 224, 512),
    "RN50x16": ("clip_resnet", 384, 768),
    "ViT-B-32": ("vit_value_path_tok", 224, 512),
    "ViT-L-14": ("vit_value_path_tok", 224, 768),
    "ViT-L-14-CLIPA": ("vit_value_path_avg", 224, 768),
    "ViT-B-16-SigLIP": ("timm_vit_map", 224, 768),
    "ViT-SO400M-14-SigLIP2": ("timm_vit_map", 224, 1152),
    "MobileCLIP-S1": ("timm_conv", 256, 512),
    "MobileCLIP-B": ("timm_vit_token", 224, 512),
    "MobileCLIP2-S3": ("timm_conv", 256, 768),
    "convnext_base_w": ("timm_conv", 256, 640),
}


@pytest.mark.parametrize("name", REAL)
def test_real_architectures_get_their_tower(name: str) -> None:
    """Without weights and without memory: on torch's meta device."""
    with torch.device("meta"):
        model = build_open_clip(open_clip.get_model_config(name))
        tower = image_tower(model.visual)
        text = TextTower(model)
    assert (tower.kind, tower.image_size, tower.embed_dim) == REAL[name]
    assert text.embed_dim == tower.embed_dim


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("coca_ViT-B-32", "captioning model"),
        ("roberta-ViT-B-32", "Hugging Face encoder (roberta-base)"),
        ("EVA02-B-16", "timm's eva02_base_patch16_clip_224"),
        ("PE-Core-B-16", "timm's vit_pe_core_base_patch16_224"),
        ("ViTamin-B", "timm's vitamin_base_224"),
    ],
)
def test_other_architectures_say_why_they_are_not_supported(name: str, reason: str) -> None:
    config = open_clip.get_model_config(name)
    assert reason in str(unsupported_reason(config))
    with pytest.raises(BackboneError, match=f"{name} is not supported: .*Supported are .*SigLIP 2"):
        check_supported(name, config)


def test_modes_of_tokenizers_are_refused() -> None:
    config = {**CONFIGS["vit"], "text_cfg": {**CLIP_TEXT, "tokenizer_mode": "clips"}}
    assert "'clips'" in str(unsupported_reason(config))


def test_other_visual_modules_are_refused() -> None:
    with pytest.raises(BackboneError, match="image towers of the kind Linear are not supported"):
        image_tower(nn.Linear(2, 2))


def test_clip_gets_the_published_scales_and_openais_pixels() -> None:
    backbone = wrap_open_clip(tiny_model("vit"), name="x", tokenizer=tiny_tokenizer("vit"))
    assert (backbone.spatial_scale, backbone.logit_scale, backbone.logit_bias) == (20.0, 100.0, 0.0)
    assert backbone.mean == open_clip.OPENAI_DATASET_MEAN
    assert backbone.interpolation == "bicubic"
    assert (backbone.context_start, backbone.causal_text) == (1, True)


def test_siglip_gets_the_scales_of_its_checkpoint() -> None:
    model = tiny_model("siglip")
    with torch.no_grad():
        model.logit_scale.fill_(4.0)
        model.logit_bias.fill_(-12.0)
    pixels = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear", "size": 64}
    backbone = wrap_open_clip(model, name="x", tokenizer=tiny_tokenizer("siglip"), preprocess_cfg=pixels)
    assert backbone.logit_scale == pytest.approx(54.598, abs=1e-3)
    assert backbone.spatial_scale == pytest.approx(54.598 / 5, abs=1e-3)
    assert backbone.logit_bias == pytest.approx(-12.0)
    assert backbone.mean == (0.5, 0.5, 0.5)
    assert backbone.interpolation == "bilinear"
    assert (backbone.context_start, backbone.causal_text) == (0, False)


class FakeHFTokenizer:
    def __init__(self, source: str, context_length: int, **options: Any) -> None:
        self.source, self.options = source, options

    def __call__(self, texts: list[str], context_length: int) -> Tensor:
        return fake_siglip_tokenizer(texts, context_length)


def siglip_config() -> dict[str, Any]:
    text = {**CONFIGS["siglip"]["text_cfg"], "tokenizer_kwargs": {"clean": "canonicalize"}}
    return {**CONFIGS["siglip"], "text_cfg": text}


def test_hub_tokenizers_get_their_options(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made: list[FakeHFTokenizer] = []

    def record(*arguments: Any, **options: Any) -> FakeHFTokenizer:
        made.append(FakeHFTokenizer(*arguments, **options))
        return made[-1]

    monkeypatch.setattr(open_clip_models, "HFTokenizer", record)
    tokenizer = build_tokenizer(siglip_config())
    assert tokenizer(["a dog"]).shape == (1, 12)
    assert (made[0].source, made[0].options) == ("faked", {"clean": "canonicalize"})
    build_tokenizer(siglip_config(), tmp_path)
    assert made[1].source == "faked"
    (tmp_path / "tokenizer.json").touch()
    build_tokenizer(siglip_config(), tmp_path)
    assert made[2].source == str(tmp_path)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError("offline\nand more"), r"tokenizer faked cannot be loaded \(offline\).*tokenizer\.json"),
        (ImportError("No module named 'transformers'"), r"needs another package .*pip install 'dualcoop\[siglip\]'"),
        (ValueError("Cannot instantiate.\nInstall SentencePiece"), r"pip install 'dualcoop\[siglip\]'"),
        (OSError(""), r"cannot be loaded \(OSError\)"),
        (AttributeError("'NoneType' object"), r"tokenizer faked cannot be loaded"),
    ],
)
def test_tokenizers_that_cannot_be_had_say_what_to_do(
    monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(open_clip_models, "HFTokenizer", fail)
    with pytest.raises(BackboneError, match=message):
        build_tokenizer(siglip_config())
