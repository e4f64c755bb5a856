"""A backbone put together from an image tower and a text tower; every supported model is one of these."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from dualcoop.backbones.base import Backbone
from dualcoop.backbones.frozen.fingerprint import fingerprint, numerics
from dualcoop.backbones.frozen.image_passes import in_passes
from dualcoop.backbones.frozen.inference_copy import InferenceCopy
from dualcoop.backbones.text.tokens import PromptTokenizer
from dualcoop.backbones.text.tower import TextTower
from dualcoop.errors import AnyOf, BackboneError, Only, Option
from dualcoop.tensor_marks import TensorMarks

CLIP_SPATIAL_SCALE = 20.0
CLIP_LOGIT_SCALE = 100.0
SAMPLED_VALUES = 64


class ImageTower(nn.Module, ABC):
    """Regions of an image in the joint space.

    Attributes:
        embed_dim: D.
        image_size: default side of the input, pixels.
        stride: of a region's side, pixels of the input.
        kind: short name of the way in which regions are computed; part of the fingerprint.
    """

    embed_dim: int
    image_size: int
    stride: int
    kind: str

    def grid_size(self, image_size: int) -> tuple[int, int]:
        """Rows and columns of regions.

        Raises:
            BackboneError: for another size than the default one that the stride does not divide.
        """
        if image_size <= 0 or (image_size % self.stride and image_size != self.image_size):
            below = max(self.stride, image_size // self.stride * self.stride)
            nearest = [below] if below > image_size else [below, below + self.stride]
            raise BackboneError(
                f"is {image_size}, which does not fit this backbone: expected a multiple of {self.stride} pixels",
                option="image_size",
                remedy=("give ", AnyOf(*(Option("image_size", size) for size in nearest))),
            )
        return image_size // self.stride, image_size // self.stride

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """What regions and the global region are both computed from, of images (B, 3, S, S)."""

    @abstractmethod
    def local(self, features: Tensor) -> Tensor:
        """One feature per region: (B, rows * columns, D), in row order."""

    @abstractmethod
    def overall(self, features: Tensor) -> Tensor:
        """The global region: (B, D)."""

    def regions(self, images: Tensor, *, global_region: bool) -> Tensor:
        """Features not yet normalised: (B, 3, S, S) to (B, R, D), the global region first when asked for."""
        features = self.features(images)
        local = self.local(features)
        return torch.cat([self.overall(features)[:, None], local], dim=1) if global_region else local

    def pooled(self, images: Tensor) -> Tensor:
        """The model's own image feature, not yet normalised, in most towers the global region: (B, D)."""
        return self.overall(self.features(images))

    @abstractmethod
    def pooling_parameters(self) -> Iterator[nn.Parameter]:
        """What leads from the feature map to the joint space; Table 6 fine-tunes it alone."""


def values_of(tokens: Tensor, weight: Tensor, bias: Tensor | None, parts: int) -> Tensor:
    """Values of tokens (.., W) by a projection to so many parts in one matrix, of which they are the last."""
    return functional.linear(tokens, weight.chunk(parts)[-1], None if bias is None else bias.chunk(parts)[-1])


class TwoTowerBackbone(Backbone):
    """An image tower and a text tower that share a joint space.

    Args:
        image: image tower; gives `image_size`.
        text: text tower; gives `text_width`, `context_length` and `causal_text`.
        tokenizer: gives `context_start`.
        scale_follows_area: the spatial scale changes with the number of regions at other sizes than the tower's own.
        name, mean, std, interpolation, spatial_scale, logit_scale, logit_bias, zero_shot_scale, absence: of `Backbone`.

    Raises:
        BackboneError: when the two towers' joint spaces differ in dimension.
    """

    image: ImageTower
    text: TextTower

    def __init__(
        self,
        *,
        name: str,
        image: ImageTower,
        text: TextTower,
        tokenizer: PromptTokenizer,
        mean: Sequence[float],
        std: Sequence[float],
        interpolation: str = "bicubic",
        spatial_scale: float = CLIP_SPATIAL_SCALE,
        scale_follows_area: bool = False,
        logit_scale: float = CLIP_LOGIT_SCALE,
        logit_bias: float = 0.0,
        zero_shot_scale: float | None = None,
        absence: str = "words",
    ) -> None:
        super().__init__()
        if image.embed_dim != text.embed_dim:
            raise BackboneError(
                f"the image tower gives {image.embed_dim} dimensions, the text tower {text.embed_dim}; the two do not "
                "belong together",
                where=name,
            )
        self.name = name
        self.image = image
        self.text = text
        self.tokenizer = tokenizer
        self.mean = (float(mean[0]), float(mean[1]), float(mean[2]))
        self.std = (float(std[0]), float(std[1]), float(std[2]))
        self.interpolation = interpolation
        self.spatial_scale = spatial_scale
        self._scale_follows_area = scale_follows_area
        self.logit_scale = logit_scale
        self.logit_bias = logit_bias
        self.zero_shot_scale = zero_shot_scale
        self.absence = absence
        self.image_size = image.image_size
        self.embed_dim = image.embed_dim
        self.text_width = text.width
        self.context_length = text.context_length
        self.context_start = tokenizer.context_start
        self.causal_text = text.causal_text
        self._fingerprint: tuple[TensorMarks, str] | None = None
        self._frozen_image = InferenceCopy()
        self._frozen_text = InferenceCopy()
        self.freeze()

    def grid_size(self, image_size: int) -> tuple[int, int]:
        """Rows and columns of the region grid; raises BackboneError for sizes that do not fit."""
        return self.image.grid_size(image_size)

    def spatial_scale_at(self, image_size: int) -> float:
        """Inverse temperature of the softmax over regions for inputs of this side, pixels."""
        share = (image_size / self.image_size) ** 2 if self._scale_follows_area else 1.0
        return self.spatial_scale * share

    def image_parameters(self) -> Iterable[nn.Parameter]:
        """All of the image tower."""
        return self.image.parameters()

    def pooling_parameters(self) -> Iterable[nn.Parameter]:
        """Those of the image tower's pooling."""
        return self.image.pooling_parameters()

    def encode_regions(self, images: Tensor, *, global_region: bool = True) -> Tensor:
        """Region features: (B, 3, S, S) to (B, R, D), float32, L2-normalised; the global region at index 0.

        A frozen tower computes with its layers merged (see `folding`), under `torch.autocast` in its precision.
        """
        return self._encode(images, lambda tower, some: tower.regions(some, global_region=global_region))

    def encode_pooled(self, images: Tensor) -> Tensor:
        """Image features by the model's own pooling: (B, 3, S, S) to (B, D), float32, L2-normalised."""
        return self._encode(images, lambda tower, some: tower.pooled(some))

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Token ids, (M, context_length), on the backbone's device; too long texts raise BackboneError."""
        return self.tokenizer(texts).to(self.text.positional_embedding.device)

    def end_positions(self, tokens: Tensor) -> Tensor:
        """Index of the pooled token: ids (M, L) to (M,)."""
        return self.text.end_positions(tokens)

    def embed_tokens(self, tokens: Tensor) -> Tensor:
        """Word embeddings without positions: ids (M, L) to (M, L, W)."""
        return self.text.token_embedding(tokens)

    def encode_prompts(self, embeddings: Tensor, end_positions: Tensor, shared_prefix: Tensor | None = None) -> Tensor:
        """Text features of prompts (M, L, W) behind a shared prefix (P, W): (M, D), L2-normalised, differentiable."""
        tower = self._frozen_text.of(self.text, embeddings.device.type)
        return functional.normalize(tower(embeddings, end_positions, shared_prefix), dim=-1)

    def configuration(self) -> dict[str, object]:
        """What decides the numbers besides the tensors; part of the fingerprint."""
        return {
            "image": {"kind": self.image.kind, **numerics(self.image)},
            "text": {
                "causal": self.text.causal,
                "pooling": self.text.pooling,
                "eos_id": self.text.eos_id if self.text.pooling == "eos" else None,
                **numerics(self.text),
            },
            "tokens": self.tokenizer.probe(),
            "pixels": {"mean": self.mean, "std": self.std, "interpolation": self.interpolation},
            "scales": {"spatial": self.spatial_scale, "logit": self.logit_scale, "bias": self.logit_bias},
        }

    def fingerprint(self) -> str:
        """SHA-256 (hex) over all tensors and the configuration; kept until a tensor changes."""
        tensors = self.state_dict()
        if self._fingerprint is None or not self._fingerprint[0].fit([*tensors.values()]):
            # A sample of the values, since fused optimizers move all of a tensor and leave no other sign.
            marks = TensorMarks(tensors.values(), values=SAMPLED_VALUES)
            self._fingerprint = (marks, fingerprint(tensors, self.configuration()))
        return self._fingerprint[1]

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles hold: all but a kept fingerprint."""
        return {**self.__dict__, "_fingerprint": None}

    def _encode(self, images: Tensor, encode: Callable[[ImageTower, Tensor], Tensor]) -> Tensor:
        """L2-normalised float32 features; a frozen tower sees a few images at a time, any other the whole batch."""
        if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
            raise BackboneError(
                f"images are {tuple(images.shape)}, expected (B, 3, S, S)",
                remedy=Only("python", "use the backbone's preprocess()"),
            )
        self.grid_size(images.shape[-1])
        tower = self._frozen_image.of(self.image, images.device.type)
        features = encode(tower, images) if tower is self.image else in_passes(partial(encode, tower), images)
        return functional.normalize(features.float(), dim=-1)


def contrastive_scales(logit_scale: Tensor, logit_bias: Tensor | None) -> tuple[float, float, float]:
    """Spatial scale, logit scale and logit bias that suit a pretrained joint space.

    Models trained with a softmax over the batch (CLIP and its kin) have no bias, end at a scale of about 100 and get
    the published constants 20 and 100. Models trained with a sigmoid per pair (SigLIP) learn the logarithm of a scale
    and a bias that turn a cosine into a probability: those are taken as they are, and the softmax over regions gets a
    fifth of the scale, CLIP's proportion.
    """
    if logit_bias is None:
        return CLIP_SPATIAL_SCALE, CLIP_LOGIT_SCALE, 0.0
    scale = math.exp(logit_scale.item())
    return scale * CLIP_SPATIAL_SCALE / CLIP_LOGIT_SCALE, scale, float(logit_bias.item())
