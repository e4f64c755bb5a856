"""Learning rate over a run: constant warm-up, then a cosine, both by epoch as published."""

import math

from dualcoop.training.arguments import TrainingArguments


def learning_rate(arguments: TrainingArguments, epoch: int, peak: float) -> float:
    """Learning rate of an epoch.

    The first epoch after the warm-up has the peak. The cosine counts from there and would reach 0 after as
    many epochs as the whole run has, so that with the published 50 the last has 0.4 % of the peak. Epochs count from 0.
    """
    warmup = min(arguments.warmup_epochs, max(arguments.epochs - 1, 0))
    if epoch < warmup:
        return min(arguments.warmup_learning_rate, peak)
    return 0.5 * peak * (1 + math.cos(math.pi * (epoch - warmup) / max(arguments.epochs, 1)))
