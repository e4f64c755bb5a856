"""From an open_clip model to a backbone, and which open_clip models can become one."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import open_clip
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer
from open_clip.transformer import VisionTransformer
from timm.models.convnext import ConvNeXt
from timm.models.fastvit import FastVit
from timm.models.vision_transformer import VisionTransformer as TimmVisionTransformer
from torch import nn

from dualcoop.backbones.loading.names import first_line
from dualcoop.backbones.text.tokens import PromptTokenizer
from dualcoop.backbones.text.tower import TextTower
from dualcoop.backbones.towers.clip_resnet import ClipResNetTower
from dualcoop.backbones.towers.timm_conv import TimmConvTower
from dualcoop.backbones.towers.timm_vit import TimmVitTower
from dualcoop.backbones.towers.two_towers import ImageTower, TwoTowerBackbone, contrastive_scales
from dualcoop.backbones.towers.vit import VitTower
from dualcoop.errors import BackboneError

SUPPORTED = (
    "CLIP ResNets, CLIP vision transformers, SigLIP and SigLIP 2, MobileCLIP and CLIP ConvNeXt, "
    "with open_clip's own text transformers"
)
TOWERS: dict[type[nn.Module], Callable[[Any], ImageTower]] = {
    ModifiedResNet: ClipResNetTower,
    VisionTransformer: VitTower,
    TimmVisionTransformer: TimmVitTower,
    FastVit: TimmConvTower,
    ConvNeXt: TimmConvTower,
}
TIMM_PREFIXES = ("vit_", "fastvit_", "convnext_")
TIMM_EXCEPTIONS = ("vit_pe_", "vit_relpos_")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def unsupported_reason(model_cfg: Mapping[str, Any]) -> str | None:
    """Why no backbone can be made of a model config of open_clip, or None when one can."""
    vision, text = model_cfg["vision_cfg"], model_cfg["text_cfg"]
    trunk = vision.get("timm_model_name")
    if "multimodal_cfg" in model_cfg:
        return "it is a captioning model (CoCa)"
    if text.get("hf_model_name"):
        return f"its text tower is a Hugging Face encoder ({text['hf_model_name']})"
    if text.get("tokenizer_mode"):
        return f"its tokenizer works in the mode {text['tokenizer_mode']!r}"
    if trunk and (not trunk.startswith(TIMM_PREFIXES) or trunk.startswith(TIMM_EXCEPTIONS)):
        return f"its image tower is timm's {trunk}"
    return None


def check_supported(name: str, model_cfg: Mapping[str, Any]) -> None:
    """Raise BackboneError, with what is supported, for a config that cannot become a backbone."""
    reason = unsupported_reason(model_cfg)
    if reason is not None:
        raise BackboneError(f"{name} is not supported: {reason}", remedy=f"supported are {SUPPORTED}")


def build_open_clip(model_cfg: Mapping[str, Any]) -> Any:
    """An open_clip model with random weights, float32."""
    arguments = deepcopy(dict(model_cfg))
    custom_text = arguments.pop("custom_text", False)
    return (open_clip.CustomTextCLIP if custom_text else open_clip.CLIP)(**arguments)


def build_tokenizer(model_cfg: Mapping[str, Any], folder: Path | None = None) -> PromptTokenizer:
    """The tokenizer that a model config names; the files in the model's own folder win over a download.

    Raises:
        BackboneError: when a Hugging Face tokenizer is needed and cannot be had.
    """
    text = model_cfg["text_cfg"]
    length = text.get("context_length", open_clip.CLIPTextCfg.context_length)
    options = dict(text.get("tokenizer_kwargs") or {})
    source = text.get("hf_tokenizer_name")
    if not source:
        return PromptTokenizer(SimpleTokenizer(context_length=length, **options), length)
    if folder is not None and any((folder / name).is_file() for name in TOKENIZER_FILES):
        source = str(folder)
    try:
        tokenizer = HFTokenizer(source, context_length=length, **options)
    except Exception as error:
        what = "cannot be loaded"
        remedy = "connect to the Hugging Face hub once, or put its files (tokenizer.json and tokenizer_config.json) "
        remedy += "into the folder of the model"
        # Where sentencepiece is missing, transformers raises a ValueError that names it.
        if isinstance(error, ImportError) or "sentencepiece" in str(error).casefold():
            what, remedy = "needs another package", "install it: pip install 'dualcoop[siglip]'"
        raise BackboneError(f"the tokenizer {source} {what} ({first_line(error)})", remedy=remedy) from error
    return PromptTokenizer(tokenizer, length)


def image_tower(visual: nn.Module) -> ImageTower:
    """The image tower with region features for an open_clip visual module.

    Raises:
        BackboneError: for architectures without region features here.
    """
    network = visual.trunk if isinstance(visual, TimmModel) else visual
    for kind, tower in TOWERS.items():
        if isinstance(network, kind):
            return tower(visual)
    raise BackboneError(
        f"image towers of the kind {type(network).__name__} are not supported", remedy=f"supported are {SUPPORTED}"
    )


def wrap_open_clip(
    model: Any, *, name: str, tokenizer: PromptTokenizer, preprocess_cfg: Mapping[str, Any] | None = None
) -> TwoTowerBackbone:
    """A frozen backbone around an open_clip model; the modules are shared, not copied.

    Args:
        model: `open_clip.CLIP` or `open_clip.CustomTextCLIP` with its weights.
        name, tokenizer: of `TwoTowerBackbone`.
        preprocess_cfg: open_clip's "mean", "std" and "interpolation"; OpenAI's where they are absent.

    Raises:
        BackboneError: for architectures that are not supported.
    """
    pixels = preprocess_cfg or {}
    spatial_scale, logit_scale, logit_bias = contrastive_scales(model.logit_scale, model.logit_bias)
    return TwoTowerBackbone(
        name=name,
        image=image_tower(model.visual),
        text=TextTower(model),
        tokenizer=tokenizer,
        mean=pixels.get("mean") or open_clip.OPENAI_DATASET_MEAN,
        std=pixels.get("std") or open_clip.OPENAI_DATASET_STD,
        interpolation=pixels.get("interpolation") or "bicubic",
        spatial_scale=spatial_scale,
        logit_scale=logit_scale,
        logit_bias=logit_bias,
    )
