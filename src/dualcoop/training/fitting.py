"""The epochs of a run, from region features to a trained model."""

import time
from collections.abc import Sequence

import numpy as np

from dualcoop.data.problems import Problem
from dualcoop.features.regions import RegionFeatures
from dualcoop.network import DualCoOpNetwork
from dualcoop.training.anchor import Anchor
from dualcoop.training.arguments import TrainingArguments
from dualcoop.training.batches import EncodedOnce, RegionSource
from dualcoop.training.callbacks import Callback, Callbacks
from dualcoop.training.checks import check_fit
from dualcoop.training.class_prior import set_class_bias
from dualcoop.training.learnable import assign, learnable_parameters
from dualcoop.training.result import TrainingResult
from dualcoop.training.run import Run
from dualcoop.training.steps import train_epoch
from dualcoop.training.validation import Validation


def fit_prompts(
    model: DualCoOpNetwork,
    features: RegionFeatures,
    labels: np.ndarray,
    valid: tuple[RegionFeatures, np.ndarray] | None = None,
    arguments: TrainingArguments | None = None,
    callbacks: Sequence[Callback] = (),
) -> TrainingResult:
    """Train the contexts of `model` on region features at hand; no image is opened and nothing is written.

    The same steps as `Trainer` takes on the images that the features are of. Thresholds and class biases of the
    model are set from counts of known labels.

    Args:
        model: with learnable prompts.
        features: of n images, in `arguments.views` views or more.
        labels: (n, M), +1 present, -1 absent, 0 unknown; the rows of `features`, the classes of `model`.
        valid: features and labels of images held out for the choice of epoch and thresholds; never test data.
        arguments: TrainingArguments() when None.
        callbacks: hear of every epoch and of the end.

    Raises:
        ConfigError: when the arguments need images or a folder, when features, labels and model do not fit each
            other, or when the loss is no longer a finite number.
        DataError: when no label is known to be present.
    """
    start = time.perf_counter()
    arguments = arguments or TrainingArguments()
    check_fit(model, arguments, features, labels, valid)
    callback = Callbacks(callbacks)
    with learnable_parameters(model, arguments.finetune) as learnable:
        run = Run(arguments, learnable, Anchor(model, arguments.anchor))
        source = EncodedOnce(features, arguments.views, arguments.seed)
        validation = None if valid is None or not len(valid[0]) else Validation(model, arguments, *valid)
        run_epochs(model, run, source, labels, validation, callback)
    return finish_run(run, validation, callback, start)


def run_epochs(
    model: DualCoOpNetwork,
    run: Run,
    source: RegionSource,
    labels: np.ndarray,
    validation: Validation | None,
    callback: Callback,
) -> None:
    """Run the epochs that are left; the model, whose learnable parameters are the run's, then has the chosen ones.

    Args:
        model, run: at the start or resumed.
        source, labels: of n training images, the labels (n, M).
        validation: adds to the history, and chooses the epoch where the arguments say so.
        callback: hears of every epoch.

    Raises:
        ConfigError: when the loss is no longer a finite number.
    """
    if run.arguments.class_prior:
        set_class_bias(model, labels)
    while not run.is_over():
        row = train_epoch(model, run.arguments, run.optimizer, source, labels, run.anchor, run.epochs.done)
        if validation is not None:
            row |= validation.row()
        run.add(row)
        callback.epoch(row)
    assign(run.learnable, run.chosen)


def finish_run(
    run: Run, validation: Validation | None, callback: Callback, start: float, problems: tuple[Problem, ...] = ()
) -> TrainingResult:
    """Fit thresholds, judge the model, and tell what the run, whose epochs are over, has come to.

    `start` is what `time.perf_counter` said when it began; `problems` are of images that were left out.
    """
    epochs = run.epochs
    report = None if validation is None else validation.finish(chosen_is_last=epochs.chosen == epochs.done)
    seconds = time.perf_counter() - start
    result = TrainingResult(tuple(epochs.history), epochs.chosen, seconds, problems, report)
    callback.end(result)
    return result
