"""Learning rate over a run: constant warm-up, then a cosine to zero, both by epoch as published."""

import math

from dualcoop.training.arguments import TrainingArguments


def learning_rate(arguments: TrainingArguments, epoch: int, peak: float) -> float:
    """Learning rate of an epoch.

    Args:
        arguments: gives the number of epochs and the warm-up.
        epoch: from 0.
        peak: rate at which the cosine starts.
    """
    if epoch < arguments.warmup_epochs:
        return min(arguments.warmup_learning_rate, peak)
    return 0.5 * peak * (1 + math.cos(math.pi * epoch / max(1, arguments.epochs)))
