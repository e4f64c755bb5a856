"""One epoch of training: the loss of each batch, its gradient, and a step of the optimizer."""

import math
import time
from collections.abc import Iterator
from inspect import signature
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dualcoop.errors import ConfigError, Option
from dualcoop.functional.losses import LOSSES, Loss
from dualcoop.network import DualCoOpNetwork
from dualcoop.training.anchor import Anchor
from dualcoop.training.arguments import TrainingArguments
from dualcoop.training.batches import RegionSource
from dualcoop.training.schedule import learning_rate


def train_epoch(
    model: DualCoOpNetwork,
    arguments: TrainingArguments,
    optimizer: torch.optim.Optimizer,
    source: RegionSource,
    labels: np.ndarray,
    anchor: Anchor,
    epoch: int,
) -> dict[str, Any]:
    """Go through all images once, in an order that depends on the seed and the epoch alone.

    Args:
        model, arguments, anchor: of the run.
        optimizer: of the model's learnable parameters; its groups have a "peak" learning rate.
        source, labels: of n images; labels (n, M), +1 present, -1 absent, 0 unknown.
        epoch: from 0.

    Returns:
        The epoch's row of the history: epoch (from 1), learning_rate, loss (mean over the known labels,
        without weight and anchor), seconds.

    Raises:
        ConfigError: when the loss is no longer a finite number.
    """
    start = time.perf_counter()
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(arguments, epoch, group["peak"])
    source.start_epoch(epoch)
    labels_per_class = np.count_nonzero(labels) / labels.shape[1]
    loss_of = run_loss(arguments)
    total, known = 0.0, 0
    for rows, subset in _batches(arguments, labels, epoch):
        chosen = labels[rows] if subset is None else labels[rows][:, subset]
        count = int(np.count_nonzero(chosen))
        if not count:
            continue
        index = None if subset is None else torch.from_numpy(subset).to(model.device)
        regions = source.regions(rows).to(model.device)
        # Only the tower runs in lower precision, a cosine needs more digits.
        with torch.autocast(model.device.type, torch.bfloat16, enabled=arguments.precision == "bfloat16"):
            text = model.text_features(index).mapped(Tensor.float)
        logits = model.logits_from_regions(regions, index, text=text)
        loss = loss_of(logits, torch.from_numpy(chosen).to(model.device))
        penalty = anchor.penalty(text, index, labels_per_class)
        # The anchor stands beside a mean over labels; the published sum has `count` times its size.
        reduced = loss.mean() + penalty if arguments.reduction == "normalised" else loss.total + count * penalty
        objective = arguments.effective_loss_weight * reduced
        value = objective.item()
        if not math.isfinite(value):
            remedy = ("give a ", Option("learning_rate"), f" under {arguments.learning_rate:g}")
            raise ConfigError(f"the loss is {value} in epoch {epoch + 1}: the steps are too large", remedy=remedy)
        optimizer.zero_grad(set_to_none=True)
        objective.backward()
        optimizer.step()
        total += loss.total.item()
        known += count
    return {
        "epoch": epoch + 1,
        "learning_rate": optimizer.param_groups[0]["lr"],
        "loss": total / known if known else math.nan,
        "seconds": time.perf_counter() - start,
    }


def run_loss(arguments: TrainingArguments) -> Loss:
    """The loss of a run; its constants are the arguments of the same names."""
    factory = LOSSES[arguments.loss]
    return factory(**{name: getattr(arguments, name) for name in signature(factory).parameters})


def _batches(
    arguments: TrainingArguments, labels: np.ndarray, epoch: int
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Rows of each batch in random order, and the classes drawn for it, None for all."""
    draw = np.random.default_rng((arguments.seed, 1, epoch))
    images, classes = labels.shape
    size = arguments.images_per_step(images)
    order = draw.permutation(images)
    for start in range(0, images, size):
        subset = None
        if arguments.class_sample is not None:
            subset = np.sort(draw.choice(classes, arguments.class_sample, replace=False))
        yield order[start : start + size], subset
