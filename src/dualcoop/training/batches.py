"""Where the region features of a training step come from: encoded once, or anew in every epoch."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from dualcoop.data.labels import LabelledImages
from dualcoop.network import DualCoOpNetwork
from dualcoop.pictures import open_picture
from dualcoop.training.augmentation import augmented
from dualcoop.training.features import DRAFT_OVERSAMPLING, RegionFeatures, encode


class RegionSource(Protocol):
    """Region features of training images."""

    def start_epoch(self, epoch: int) -> None:
        """Choose this epoch's views."""

    def regions(self, rows: np.ndarray) -> Tensor:
        """(b, R, D) of the images at these rows."""


class EncodedOnce:
    """Features of frozen images; every epoch takes one view of each image at random."""

    def __init__(self, features: RegionFeatures, seed: int) -> None:
        self._features = features
        self._seed = seed
        self._views = np.zeros(len(features), dtype=int)

    def start_epoch(self, epoch: int) -> None:
        """Draw a view for each image."""
        draw = np.random.default_rng((self._seed, epoch))
        self._views = draw.integers(self._features.views, size=len(self._features))

    def regions(self, rows: np.ndarray) -> Tensor:
        """(b, R, D), float32, without a graph."""
        return self._features.batch(rows, self._views[rows])


class EncodedAnew:
    """Images read, augmented and encoded in every step, with gradients where the tower is fine-tuned."""

    def __init__(
        self,
        model: DualCoOpNetwork,
        data: LabelledImages,
        *,
        augmentation: str,
        finetune: bool,
        precision: str,
        seed: int,
    ) -> None:
        self._model = model
        self._paths = data.paths
        plain = model.backbone.preprocess(model.image_size)
        self._transform = augmented(plain, augmentation, model.image_size)
        self._finetune = finetune
        self._precision = precision
        self._seed = seed

    def start_epoch(self, epoch: int) -> None:
        """Seed the augmentation."""
        torch.manual_seed(int(np.random.SeedSequence((self._seed, epoch)).generate_state(1)[0]))

    def regions(self, rows: np.ndarray) -> Tensor:
        """(b, R, D), float32; with a graph to the image tower when it is fine-tuned."""
        draft = DRAFT_OVERSAMPLING * self._model.image_size
        pixels = torch.stack(
            [self._transform(open_picture(self._paths[row], draft_size=draft)) for row in rows]
        )
        if not self._finetune:
            return encode(self._model, pixels, self._precision)
        enabled = self._precision == "bfloat16"
        with torch.autocast(self._model.device.type, torch.bfloat16, enabled=enabled):
            return self._model.encode_pixels(pixels.to(self._model.device)).float()
