"""Learns the contexts of a model from partially labelled images."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from dualcoop.cache import FeatureCache
from dualcoop.data.labels import LabelledImages
from dualcoop.data.masks import LabelMask
from dualcoop.data.problems import Problem
from dualcoop.evaluation import EvaluationReport
from dualcoop.features.checks import check_any_read
from dualcoop.features.encoding import encode_images_once, readable_images
from dualcoop.features.regions import RegionFeatures
from dualcoop.features.scoring import evaluate_images
from dualcoop.network import DualCoOpNetwork
from dualcoop.training.anchor import Anchor
from dualcoop.training.arguments import TrainingArguments
from dualcoop.training.batches import EncodedAnew, EncodedOnce, RegionSource
from dualcoop.training.callbacks import Callback, Callbacks
from dualcoop.training.checkpoints import remove_checkpoint
from dualcoop.training.checks import check_classes, check_features, check_positives, check_run
from dualcoop.training.curves import HistoryFiles
from dualcoop.training.fitting import finish_run, run_epochs
from dualcoop.training.learnable import learnable_parameters
from dualcoop.training.record import RunRecord
from dualcoop.training.reporting import Tracker, check_trackers
from dualcoop.training.result import TrainingResult
from dualcoop.training.run import Checkpoints, Run
from dualcoop.training.validation import Validation


class Trainer:
    """Trains the contexts of `model`, and nothing else unless asked to.

    Thresholds and class biases of the model are not learned; they are set from counts of known labels.

    Args:
        model: with learnable prompts for the classes of the data.
        arguments: TrainingArguments() when None.
        train: images with partial labels.
        valid: images held out for the choice of epoch and thresholds; never test data.
        callbacks: hear how the run goes on.
        mask: the partial-label mask that `train`'s labels went through, written down with the run.
        source: how the data were loaded, JSON values, written down with the run.
        train_features, valid_features: what `encode_images_once` gave for this backbone, image size and these
            images, where several runs share it; `arguments.views` views or more.

    Raises:
        ConfigError: when the arguments do not fit the model or the data, or the cache folder cannot be written to.
        DataError: when no label is known to be present, or labels are known that the mask hides.
        ModelError: when the data's classes are not the model's.
    """

    def __init__(
        self,
        model: DualCoOpNetwork,
        arguments: TrainingArguments | None = None,
        *,
        train: LabelledImages,
        valid: LabelledImages | None = None,
        callbacks: Sequence[Callback] = (),
        mask: LabelMask | None = None,
        source: dict[str, Any] | None = None,
        train_features: RegionFeatures | None = None,
        valid_features: RegionFeatures | None = None,
    ) -> None:
        self.model = model
        self.arguments = arguments or TrainingArguments()
        self.train_data = train
        self.valid_data = valid if valid is not None and len(valid) else None
        self.callbacks = tuple(callbacks)
        self._train_features = train_features
        self._valid_features = valid_features
        check_trackers(self.arguments.report_to, self.arguments.output_dir)
        check_run(model, self.arguments, train, self.valid_data, mask)
        views = self.arguments.views if self._frozen else 0
        # A tower in training changes with every step: nothing would ever be read from the cache.
        folder = self.arguments.cache_dir if self._frozen else None
        self._cache = None if folder is None else FeatureCache(folder, self.arguments.cache_size)
        check_features(model, train, train_features, "train_features", views)
        check_features(model, self.valid_data, valid_features, "valid_features", int(self._frozen))
        self._record = RunRecord(self.arguments, model, train, self.valid_data, mask, source)

    @property
    def _frozen(self) -> bool:
        return self.arguments.finetune == "none"

    def train(self) -> TrainingResult:
        """Run all epochs, or those that a checkpoint has left; the model then has the chosen contexts.

        Without `resume`, a checkpoint that an earlier run left in `output_dir` is removed first, so that nothing
        is resumed from it by mistake.

        Raises:
            DataError: with `strict`, for an image that cannot be read; or when too few can be read.
            ModelError: when the checkpoint to resume from is damaged or belongs to another run, or when a
                checkpoint or the model cannot be written.
            ConfigError: when the output folder cannot be made, or the loss is no longer a finite number.
        """
        start = time.perf_counter()
        arguments, folder = self.arguments, self.arguments.output_dir
        with learnable_parameters(self.model, arguments.finetune) as learnable:
            run = Run(arguments, learnable, Anchor(self.model, arguments.anchor))
            identity = self._record.identity()
            if folder is not None and arguments.resume:
                run.resume(folder, identity)
            self._record.start(run.epochs.done)
            writers: list[Callback] = [self._record]
            if folder is not None:
                if not arguments.resume:
                    remove_checkpoint(folder)
                writers = [Checkpoints(run, folder, identity), HistoryFiles(folder, run.epochs.history), self._record]
            source, labels, problems = self._training_source()
            validation, more = self._validation()
            problems += more
            self._record.leave_out(problems)
            if folder is not None:
                writers += [Tracker(name, folder, identity) for name in arguments.report_to]
            callback = Callbacks([*writers, *self.callbacks])
            run_epochs(self.model, run, source, labels, validation, callback)
        return finish_run(run, validation, callback, start, problems)

    def evaluate(self, data: LabelledImages) -> EvaluationReport:
        """Metrics of the model as it is on labelled images; decisions by the model's thresholds.

        Images that cannot be read are left out and named in the report's notes.

        Raises:
            ModelError: when the data's classes are not the model's.
            DataError: with `strict`, for an image that cannot be read; or when none can be read.
        """
        check_classes(self.model, data)
        report, _ = evaluate_images(self.model, data, **self._encoding())
        return report

    def _training_source(self) -> tuple[RegionSource, np.ndarray, tuple[Problem, ...]]:
        """Region features and labels (n, M) of the training images that can be read, and the other images."""
        arguments, data = self.arguments, self.train_data
        source: RegionSource
        if self._frozen and arguments.views:
            features = self._train_features
            if features is None:
                features = self._encode(data, arguments.views)
            source = EncodedOnce(features, arguments.views, arguments.seed)
            data, problems = data.subset(features.kept), features.problems
        else:
            kept, problems = readable_images(data, self.model.image_size, strict=arguments.strict)
            check_any_read(kept, data, problems)
            data = data.subset(kept)
            source = EncodedAnew(self.model, data, arguments)
        check_positives(data.labels)
        return source, data.labels, problems

    def _validation(self) -> tuple[Validation | None, tuple[Problem, ...]]:
        """Validation, and the images for it that cannot be read."""
        data = self.valid_data
        if data is None:
            return None, ()

        def encoded(features: RegionFeatures | None = None) -> tuple[RegionFeatures, np.ndarray]:
            features = self._encode(data) if features is None else features
            return features, data.labels[features.kept]

        features, labels = encoded(self._valid_features)
        again = None if self._frozen else encoded
        return Validation(self.model, self.arguments, features, labels, again), features.problems

    def _encode(self, data: LabelledImages, views: int = 1) -> RegionFeatures:
        features = encode_images_once(self.model, data, **self._encoding(views))
        check_any_read(features.kept, data, features.problems)
        return features

    def _encoding(self, views: int = 1) -> dict[str, Any]:
        """Options of `encode_images_once`."""
        return {
            "views": views,
            "augmentation": self.arguments.augmentation if views > 1 else "none",
            "seed": self.arguments.seed,
            "strict": self.arguments.strict,
            "precision": self.arguments.precision,
            "stored": self.arguments.feature_precision,
            "cache": self._cache,
            "folder": self.arguments.output_dir,
            "progress": Callbacks(self.callbacks).encoding,
        }
