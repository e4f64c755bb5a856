"""Tiny random open_clip models, one per supported family, with every tensor random."""

import re
import zlib
from typing import Any

import timm
import torch
from timm.models.convnext import ConvNeXt
from timm.models.fastvit import FastVit
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from dualcoop.backbones.loading.open_clip_models import build_open_clip, build_tokenizer, wrap_open_clip
from dualcoop.backbones.text.tokens import PromptTokenizer
from dualcoop.backbones.towers.two_towers import TwoTowerBackbone
from tolerances import assert_agree

IMAGE_SIZE = 64
EMBED_DIM = 32
CLIP_TEXT = {"context_length": 20, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
SIGLIP_TEXT = {
    **{"context_length": 12, "vocab_size": 300, "width": 32, "heads": 2, "layers": 2},
    **{"no_causal_mask": True, "proj_bias": True, "pool_type": "last", "hf_tokenizer_name": "faked"},
    **{"norm_kwargs": {"eps": 1e-6}, "act_kwargs": {"approximate": "tanh"}},
}


TIMM_OPTIONS = ("num_classes", "global_pool")


def _network(kind: type[nn.Module], options: dict[str, Any], **shape: Any) -> nn.Module:
    """A network of timm with the options that open_clip's adapter passes on."""
    network = kind(**shape, **{key: options[key] for key in TIMM_OPTIONS if key in options})
    network.default_cfg = {}
    return network


def vit_tiny_siglip(**options: Any) -> nn.Module:
    shape = {"img_size": IMAGE_SIZE, "patch_size": 16, "embed_dim": EMBED_DIM, "depth": 2, "num_heads": 2}
    return _network(VisionTransformer, options, **shape, class_token=False)


def vit_tiny_token(**options: Any) -> nn.Module:
    shape = {"img_size": IMAGE_SIZE, "patch_size": 16, "embed_dim": 24, "depth": 2, "num_heads": 2}
    return _network(VisionTransformer, options, **shape, init_values=0.5, pre_norm=True)


def fastvit_tiny(**options: Any) -> nn.Module:
    shape = {"layers": (1, 1, 1, 1), "embed_dims": (8, 8, 16, 16), "mlp_ratios": (2, 2, 2, 2)}
    downsamples = (False, True, True, True)
    return _network(FastVit, options, **shape, downsamples=downsamples)


def convnext_tiny_random(**options: Any) -> nn.Module:
    return _network(ConvNeXt, options, depths=(1, 1, 1, 1), dims=(8, 8, 16, 16))


for _entry in (vit_tiny_siglip, vit_tiny_token, fastvit_tiny, convnext_tiny_random):
    timm.models.register_model(_entry)


def _through_timm(name: str, pool: str, projection: str | None, **text: Any) -> dict[str, Any]:
    vision = {"image_size": IMAGE_SIZE, "timm_model_name": name, "timm_pool": pool, "timm_proj": projection}
    return {
        "embed_dim": EMBED_DIM,
        "custom_text": True,
        "vision_cfg": vision,
        "text_cfg": {**CLIP_TEXT, **text},
    }


CONFIGS: dict[str, dict[str, Any]] = {
    "clip_resnet": {
        "embed_dim": EMBED_DIM,
        "quick_gelu": True,
        "vision_cfg": {"image_size": IMAGE_SIZE, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
        "text_cfg": CLIP_TEXT,
    },
    "vit": {
        "embed_dim": EMBED_DIM,
        "quick_gelu": True,
        "vision_cfg": {
            **{"image_size": IMAGE_SIZE, "layers": 2, "width": 48, "head_width": 24, "patch_size": 16},
        },
        "text_cfg": CLIP_TEXT,
    },
    "vit_average": {
        "embed_dim": EMBED_DIM,
        "vision_cfg": {
            **{"image_size": IMAGE_SIZE, "layers": 2, "width": 48, "head_width": 24, "patch_size": 16},
            **{"no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True, "ls_init_value": 0.5},
        },
        "text_cfg": CLIP_TEXT,
    },
    "siglip": {
        "embed_dim": EMBED_DIM,
        "custom_text": True,
        "init_logit_bias": -10,
        "vision_cfg": {
            **{"image_size": IMAGE_SIZE, "timm_model_name": "vit_tiny_siglip"},
            **{"timm_pool": "map", "timm_proj": "none"},
        },
        "text_cfg": SIGLIP_TEXT,
    },
    "mobileclip_vit": _through_timm("vit_tiny_token", "token", None),
    "mobileclip_fastvit": _through_timm("fastvit_tiny", "avg", None, no_causal_mask=True),
    "convnext": _through_timm("convnext_tiny_random", "", "linear"),
}


def fake_siglip_tokenizer(texts: list[str], context_length: int) -> Tensor:
    """As SigLIP's: no start token, an end token that is also the padding, no punctuation, silently cut.

    Words are cut into pieces of four characters; each piece is a token, whatever stands before it.
    """
    end = 1
    rows = []
    for text in texts:
        words = re.sub(r"[^\w\s]", "", text.lower().replace("_", " ")).split()
        pieces = [word[start : start + 4] for word in words for start in range(0, len(word), 4)]
        ids = [2 + zlib.crc32(piece.encode()) % 298 for piece in pieces]
        ids = [*ids[: context_length - 1], end]
        rows.append(ids + [end] * (context_length - len(ids)))
    return torch.tensor(rows)


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random values everywhere, also where initialisation leaves zeros and ones."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if not tensor.is_floating_point() or name in ("logit_scale", "logit_bias"):
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            if name.endswith("running_var"):
                tensor.copy_(0.5 + noise.abs())
            elif tensor.dim() >= 2:
                tensor.copy_(noise * max(tensor[0].numel(), 1) ** -0.5)
            elif name.endswith(("bias", "running_mean")):
                tensor.copy_(0.2 * noise)
            else:
                tensor.copy_(1 + 0.2 * noise)
    return model.eval()


def tiny_model(family: str, seed: int = 0) -> Any:
    """A random open_clip model of a family, in eval mode."""
    return randomise(build_open_clip(CONFIGS[family]), seed)


def tiny_tokenizer(family: str) -> PromptTokenizer:
    if family == "siglip":
        return PromptTokenizer(fake_siglip_tokenizer, SIGLIP_TEXT["context_length"])
    return build_tokenizer(CONFIGS[family])


def tiny_backbone(family: str, model: Any = None) -> TwoTowerBackbone:
    """A backbone around a model of a family; its modules are shared."""
    model = tiny_model(family) if model is None else model
    return wrap_open_clip(model, name=f"tiny {family}", tokenizer=tiny_tokenizer(family))


def random_images(size: int = IMAGE_SIZE, count: int = 2, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def assert_towers_agree(found: Tensor, expected: Tensor) -> None:
    """Features, or gradients of them, of two computations through any of these towers.

    The deepest has 17 products behind each other, the widest product 3 * 16 * 16 summands.
    """
    assert_agree(found, expected, terms=768, layers=17)


def unit(features: Tensor) -> Tensor:
    return torch.nn.functional.normalize(features, dim=-1)
