"""This library's training step, as `train_epoch` runs it, with a stopwatch where its parts begin and end."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.settings import Setting, random_labels, random_pixels, random_regions
from benchmarks.timing import Candidate, Stages, Stopwatch
from dualcoop import DualCoOp, TrainingArguments
from dualcoop.features import RegionFeatures
from dualcoop.features.encoding import encode
from dualcoop.functional import DualLogits
from dualcoop.prompts import PromptLearner, TextFeatures
from dualcoop.training.anchor import Anchor
from dualcoop.training.batches import EncodedOnce, RegionSource
from dualcoop.training.learnable import learnable_parameters, make_optimizer
from dualcoop.training.steps import train_epoch

# Batches are drawn from this many images per image of a batch, so that features are not found in the processor's cache.
POOL = 4
FIRST_EPOCH_AFTER_WARMUP = 1
BACKWARD = "backward"
PRECISION = "bfloat16"


class TimedModel(DualCoOp):
    """A model whose text path and head are timed."""

    watch: Stopwatch

    def text_features(self, class_subset: Tensor | None = None) -> TextFeatures:
        """As ever."""
        with self.watch("text"):
            return super().text_features(class_subset)

    def logits_from_regions(self, regions: Tensor, class_subset: Tensor | None = None, **options: Any) -> DualLogits:
        """As ever."""
        with self.watch("head"):
            return super().logits_from_regions(regions, class_subset, **options)


class TimedSource:
    """Region features from another source, timed."""

    def __init__(self, model: TimedModel, source: RegionSource) -> None:
        self._model = model
        self._source = source

    def start_epoch(self, epoch: int) -> None:
        """As the source does."""
        self._source.start_epoch(epoch)

    def regions(self, rows: np.ndarray) -> Tensor:
        """(b, R, D), float32."""
        with self._model.watch("reading"):
            return self._source.regions(rows)


class RandomRows:
    """Random rows of a pool of random features in the model's shape, whichever rows are asked for."""

    def __init__(self, model: DualCoOp, batch_size: int) -> None:
        rows, columns = model.backbone.grid_size(model.image_size)
        values = random_regions(POOL * batch_size, rows * columns + 1, model.backbone.embed_dim)
        rows_of_pool = np.arange(len(values))
        features = RegionFeatures(
            [values[:, 0]],
            block=np.zeros((len(values), 1), dtype=int),
            row=rows_of_pool[:, None],
            region_shape=values.shape[2:],
            kept=rows_of_pool,
            problems=(),
        )
        self._pool = EncodedOnce(features, 1, 0)
        self._size = len(values)
        self._draw = np.random.default_rng(0)

    def start_epoch(self, epoch: int) -> None:
        """As features that are encoded once do."""
        self._pool.start_epoch(epoch)

    def regions(self, rows: np.ndarray) -> Tensor:
        """(b, R, D), float32."""
        return self._pool.regions(self._draw.choice(self._size, len(rows), replace=False))


class Epoch:
    """One epoch over random features and labels; with as many images as a batch has it is one step.

    Args:
        model: with prompts; its stopwatch is replaced at every call.
        arguments: of the training; optimizer, loss and precision come from here.
        images: n.
        source: of the region features; random ones when None.
        labels: (n, M), random ones when None.

    Attributes:
        loss: mean over the known labels of the latest epoch.
    """

    def __init__(
        self,
        model: TimedModel,
        arguments: TrainingArguments,
        images: int,
        source: RegionSource | None = None,
        labels: np.ndarray | None = None,
    ) -> None:
        self._model = model
        self._arguments = arguments
        self._labels = random_labels(images, len(model.classes)) if labels is None else labels
        self._source = TimedSource(model, source or RandomRows(model, arguments.images_per_step(images)))
        self.loss = float("nan")
        model.watch = Stopwatch(model.device)
        self._anchor = Anchor(model, arguments.anchor)
        with learnable_parameters(model, arguments.finetune) as learnable:
            self._optimizer = make_optimizer(arguments, learnable)

    def __call__(self) -> Stages:
        """One epoch; the seconds of its stages."""
        watch = self._model.watch = Stopwatch(self._model.device)
        with watch("all"):
            row = train_epoch(
                self._model,
                self._arguments,
                self._optimizer,
                self._source,
                self._labels,
                self._anchor,
                FIRST_EPOCH_AFTER_WARMUP,
            )
        self.loss = row["loss"]
        stages = dict(watch.seconds)
        stages[BACKWARD] = stages.pop("all") - sum(stages.values())
        return stages


def timed_model(setting: Setting, backbone: Any) -> TimedModel:
    """A model for a setting."""
    return TimedModel(backbone, setting.classes, setting.prompts, image_size=setting.image_size)


def contexts(model: DualCoOp) -> tuple[Tensor, Tensor]:
    """Positive and negative contexts as they are now."""
    prompts = model.prompts
    assert isinstance(prompts, PromptLearner)
    assert prompts.positive_context is not None
    assert prompts.negative_context is not None
    return prompts.positive_context.detach().clone(), prompts.negative_context.detach().clone()


def published_arguments(setting: Setting, **changes: Any) -> TrainingArguments:
    """The published schedule and loss over features that are encoded once."""
    recipe = TrainingArguments.published(voc=setting.voc, zero_shot=setting.zero_shot)
    recipe = replace(recipe, batch_size=setting.batch_size, class_sample=setting.class_sample)
    return replace(recipe, views=1, augmentation="none", **changes)


def encoding(model: DualCoOp, images: int) -> Candidate:
    """Our encoding of preprocessed pixels of so many images."""
    pixels = random_pixels(images, model.image_size, torch.device("cpu"))

    def run() -> Stages:
        watch = Stopwatch(model.device)
        with watch("images"):
            encode(model, pixels, PRECISION)
        return watch.seconds

    return run
