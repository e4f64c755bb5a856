"""Where the region features of a training step come from: encoded once, or anew in every epoch."""

from typing import Protocol

import numpy as np
from torch import Tensor

from dualcoop.data.labels import LabelledImages
from dualcoop.features.augmentation import RandomNumbers, augmented
from dualcoop.features.encoding import encode
from dualcoop.features.regions import RegionFeatures
from dualcoop.inference.images import image_batches
from dualcoop.inference.squash import DRAFT_OVERSAMPLING
from dualcoop.network import DualCoOpNetwork
from dualcoop.training.arguments import TrainingArguments


class RegionSource(Protocol):
    """Region features of training images."""

    def start_epoch(self, epoch: int) -> None:
        """Choose this epoch's views."""

    def regions(self, rows: np.ndarray) -> Tensor:
        """(b, R, D) of the images at these rows."""


class EncodedOnce:
    """Features of frozen images; every epoch takes one of the first V views of each image at random, by the seed."""

    def __init__(self, features: RegionFeatures, views: int, seed: int) -> None:
        self._features = features
        self._seed = seed
        self._count = views
        self._views = np.zeros(len(features), dtype=int)

    def start_epoch(self, epoch: int) -> None:
        """Draw a view for each image."""
        draw = np.random.default_rng((self._seed, 0, epoch))
        self._views = draw.integers(self._count, size=len(self._features))

    def regions(self, rows: np.ndarray) -> Tensor:
        """(b, R, D), float32, on the CPU, without a graph."""
        return self._features.batch(rows, self._views[rows])


class EncodedAnew:
    """Images read, augmented and encoded in every step, with gradients where the tower is fine-tuned.

    Args:
        model, arguments: of the run.
        data: images that can all be read.
    """

    def __init__(self, model: DualCoOpNetwork, data: LabelledImages, arguments: TrainingArguments) -> None:
        self._model = model
        self._paths = data.paths
        self._arguments = arguments
        plain = model.backbone.preprocess(model.image_size)
        self._transform = augmented(plain, arguments.augmentation, model.image_size, alone=True)
        self._random = RandomNumbers(arguments.seed)

    def start_epoch(self, epoch: int) -> None:
        """Seed the augmentation."""
        self._random = RandomNumbers(self._arguments.seed, 0, epoch)

    def regions(self, rows: np.ndarray) -> Tensor:
        """(b, R, D), float32; with a graph to the image tower when it is fine-tuned.

        Raises:
            DataError: for an image that can no longer be read.
        """
        draft = DRAFT_OVERSAMPLING * self._model.image_size
        paths = [self._paths[row] for row in rows]
        with self._random.drawn():
            (batch,) = image_batches(paths, self._transform, batch_size=len(paths), draft_size=draft, in_order=True)
        assert batch.pixels is not None
        learns = self._arguments.finetune != "none"
        return encode(self._model, batch.pixels, self._arguments.precision, learns=learns)
