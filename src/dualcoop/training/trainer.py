"""Learns the contexts of a model from partially labelled images."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from dualcoop.data.labels import LabelledImages
from dualcoop.data.masks import LabelMask
from dualcoop.data.problems import Problem
from dualcoop.errors import ConfigError, DataError, ModelError
from dualcoop.evaluation import EvaluationReport, class_thresholds, evaluate, mean_average_precision
from dualcoop.functional import DualLogits, asymmetric_loss, probabilities
from dualcoop.model import DualCoOp
from dualcoop.training.anchor import Anchor
from dualcoop.training.arguments import TrainingArguments
from dualcoop.training.batches import EncodedAnew, EncodedOnce, RegionSource
from dualcoop.training.checkpoints import (
    optimizer_tensors,
    read_checkpoint,
    restore_optimizer,
    write_checkpoint,
)
from dualcoop.training.features import RegionFeatures, encode_images_once
from dualcoop.training.record import RunRecord
from dualcoop.training.schedule import learning_rate

SCORE_BATCH = 64


class Reporter(Protocol):
    """Hears how a run goes on."""

    def encoding(self, done: int, total: int) -> None:
        """Images encoded so far."""

    def epoch(self, row: dict[str, Any]) -> None:
        """An epoch is over; `row` is its line of the history."""


@dataclass(frozen=True)
class TrainingResult:
    """Outcome of a run.

    Attributes:
        history: one row per epoch: epoch, learning_rate, loss, seconds, and valid_loss and valid_map where
            there are validation images.
        epoch: the epoch whose contexts the model has now, from 1; 0 when none was run.
        seconds: wall time of the run, encoding included.
        problems: images that could not be read and were left out.
    """

    history: tuple[dict[str, Any], ...]
    epoch: int
    seconds: float
    problems: tuple[Problem, ...] = field(default=())


class Trainer:
    """Trains the contexts of `model`, and nothing else unless asked to.

    Args:
        model: with learnable prompts for the classes of the data.
        arguments: TrainingArguments() when None.
        train: images with partial labels.
        valid: images held out for the choice of epoch and thresholds; never test data.
        reporter: hears of progress.
        mask: the partial-label mask that `train`'s labels went through, written down with the run.
        source: how the data were loaded, JSON values, written down with the run.
        train_features, valid_features: what `encode_images_once` gave for this backbone, image size and these
            images, where several runs share it.

    Raises:
        ConfigError: when the arguments do not fit the model or the data.
        DataError: when no label is known, or none is present.
        ModelError: when the data's classes are not the model's.
    """

    def __init__(
        self,
        model: DualCoOp,
        arguments: TrainingArguments | None = None,
        *,
        train: LabelledImages,
        valid: LabelledImages | None = None,
        reporter: Reporter | None = None,
        mask: LabelMask | None = None,
        source: dict[str, Any] | None = None,
        train_features: RegionFeatures | None = None,
        valid_features: RegionFeatures | None = None,
    ) -> None:
        self.model = model
        self.arguments = arguments or TrainingArguments()
        self.train_data = train
        self.valid_data = valid if valid is not None and len(valid) else None
        self.reporter = reporter
        self._train_features = train_features
        self._valid_features = valid_features
        self._record = RunRecord(self.arguments, model, train, self.valid_data, mask, source)
        self._check()

    def _check(self) -> None:
        for data in (self.train_data, self.valid_data):
            if data is not None:
                check_classes(self.model, data)
        if not list(self.model.prompts.parameters()):
            raise ConfigError("the model's prompts are hand-crafted templates: there is nothing to train")
        if not len(self.train_data) or not (self.train_data.labels > 0).any():
            raise DataError(
                f"there are {len(self.train_data)} training images and no label among them is known to be "
                "present: give images with at least one label"
            )
        if self.arguments.select == "best" and self.valid_data is None:
            raise ConfigError(
                "select is 'best', but there are no validation images to choose by: hold some out "
                "(valid_fraction=0.2 of load_dataset), or use select='last'"
            )
        sample = self.arguments.class_sample
        if sample is not None and sample > len(self.model.classes):
            raise ConfigError(
                f"class_sample is {sample}, but there are only {len(self.model.classes)} classes"
            )

    def train(self) -> TrainingResult:
        """Run all epochs, or those that a checkpoint has left; the model then has the chosen contexts.

        Raises:
            DataError: with `strict`, for an image that cannot be read; or when none can be read.
            ModelError: when the checkpoint to resume from is damaged or belongs to another run.
        """
        start = time.perf_counter()
        arguments = self.arguments
        learnable = self._learnable()
        optimizer = self._optimizer(learnable)
        anchor = Anchor(self.model, self.train_data, arguments.anchor)
        chosen = _copies(learnable)
        state: dict[str, Any] = {"epoch": 0, "best": None, "best_epoch": 0, "history": []}
        resumed = self._resume(optimizer, learnable, chosen, anchor)
        if resumed is not None:
            state = resumed
        source, labels, problems = self._training_source()
        valid = None
        if self.valid_data is not None:
            valid = self._valid_features or self._encode(self.valid_data)
        self._record.start(problems)
        for epoch in range(state["epoch"], arguments.epochs):
            row = self._epoch(epoch, source, labels, optimizer, anchor)
            if valid is not None:
                row |= self._validate(valid)
            state["history"].append(row)
            state["epoch"] = epoch + 1
            better = arguments.select == "last" or state["best"] is None or row["valid_map"] > state["best"]
            if better:
                state["best"], state["best_epoch"] = row.get("valid_map"), epoch + 1
                chosen = _copies(learnable)
            if self.reporter is not None:
                self.reporter.epoch(row)
            waited = epoch + 1 - state["best_epoch"]
            last = epoch + 1 == arguments.epochs or (
                arguments.patience is not None and arguments.select == "best" and waited >= arguments.patience
            )
            if arguments.output_dir is not None and (last or (epoch + 1) % arguments.checkpoint_every == 0):
                tensors = {f"now.{name}": value for name, value in _copies(learnable).items()}
                tensors |= {f"chosen.{name}": value for name, value in chosen.items()}
                tensors |= optimizer_tensors(optimizer) | anchor.tensors()
                write_checkpoint(arguments.output_dir, tensors, {**state, "run": self._record.identity()})
                self._record.curves(state["history"])
            if last:
                break
        with torch.no_grad():
            for name, parameter in learnable.items():
                parameter.copy_(chosen[name])
        metrics = self._finish(valid)
        seconds = time.perf_counter() - start
        self._record.finish(state["history"], state["best_epoch"], seconds, metrics)
        return TrainingResult(tuple(state["history"]), state["best_epoch"], seconds, problems)

    def evaluate(self, data: LabelledImages) -> EvaluationReport:
        """Metrics of the model as it is on labelled images; decisions by the model's thresholds."""
        check_classes(self.model, data)
        features = self._encode(data)
        return evaluate(
            self._scores(features),
            data.labels[features.kept],
            data.classes,
            threshold=self.model.thresholds.cpu().numpy(),
        )

    def _learnable(self) -> dict[str, nn.Parameter]:
        learnable = {f"prompts.{name}": value for name, value in self.model.prompts.named_parameters()}
        if self.arguments.finetune != "none":
            image = getattr(self.model.backbone, "image", None)
            if image is None:
                raise ConfigError(f"{self.model.backbone.name} has no image tower that can be fine-tuned")
            pooling = self.arguments.finetune == "pooling"
            wanted = {id(p) for p in (image.pooling_parameters() if pooling else image.parameters())}
            names = [name for name, p in self.model.backbone.named_parameters() if id(p) in wanted]
            tuned = self.model.unfreeze_backbone(names)
            learnable |= {f"backbone.{name}": value for name, value in zip(names, tuned, strict=True)}
        return learnable

    def _optimizer(self, learnable: dict[str, nn.Parameter]) -> torch.optim.Optimizer:
        arguments = self.arguments
        groups = []
        for prefix, peak in (
            ("prompts.", arguments.learning_rate),
            ("backbone.", arguments.backbone_learning_rate),
        ):
            parameters = [value for name, value in learnable.items() if name.startswith(prefix)]
            if parameters:
                groups.append({"params": parameters, "lr": peak, "peak": peak})
        if arguments.optimizer == "sgd":
            return torch.optim.SGD(groups, momentum=arguments.momentum, weight_decay=arguments.weight_decay)
        return torch.optim.AdamW(groups, weight_decay=arguments.weight_decay)

    def _training_source(self) -> tuple[RegionSource, np.ndarray, tuple[Problem, ...]]:
        """Features, the labels (n, M) of the images that could be read, and the other images."""
        arguments = self.arguments
        if arguments.finetune == "none" and arguments.views > 0:
            features = self._train_features or self._encode(self.train_data, views=arguments.views)
            return (
                EncodedOnce(features, arguments.seed),
                self.train_data.labels[features.kept],
                features.problems,
            )
        source = EncodedAnew(
            self.model,
            self.train_data,
            augmentation=arguments.augmentation,
            finetune=arguments.finetune != "none",
            precision=arguments.precision,
            seed=arguments.seed,
        )
        return source, self.train_data.labels, ()

    def _encode(self, data: LabelledImages, views: int = 1) -> RegionFeatures:
        progress: Callable[[int, int], None] | None = None
        if self.reporter is not None:
            progress = self.reporter.encoding
        features = encode_images_once(
            self.model,
            data,
            views=views,
            augmentation=self.arguments.augmentation if views > 1 else "none",
            seed=self.arguments.seed,
            strict=self.arguments.strict,
            precision=self.arguments.precision,
            folder=self.arguments.output_dir,
            progress=progress,
        )
        if not len(features):
            first = f" ({features.problems[0]})" if features.problems else ""
            raise DataError(f"none of the {len(data)} images can be read{first}")
        return features

    def _epoch(
        self,
        epoch: int,
        source: RegionSource,
        labels: np.ndarray,
        optimizer: torch.optim.Optimizer,
        anchor: Anchor,
    ) -> dict[str, Any]:
        arguments, model = self.arguments, self.model
        start = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(arguments, epoch, group["peak"])
        draw = np.random.default_rng((arguments.seed, 1, epoch))
        source.start_epoch(epoch)
        total, known = 0.0, 0
        size = arguments.images_per_step(len(labels))
        for rows in np.split(draw.permutation(len(labels)), range(size, len(labels), size)):
            subset = self._class_subset(draw)
            chosen = labels[rows] if subset is None else labels[rows][:, subset.numpy()]
            batch_labels = torch.from_numpy(chosen)
            count = int((batch_labels != 0).sum())
            if not count:
                continue
            batch_labels = batch_labels.to(model.device)
            regions = source.regions(rows).to(model.device)
            index = None if subset is None else subset.to(model.device)
            with torch.autocast(model.device.type, torch.bfloat16, enabled=arguments.precision == "bfloat16"):
                text = model.text_features(index)
                logits = model.logits_from_regions(regions, index, text=text)
            logits = DualLogits(logits.positive.float(), logits.negative.float())
            loss = self._loss(logits, batch_labels)
            objective = arguments.effective_loss_weight * loss + anchor.penalty(text, index)
            optimizer.zero_grad(set_to_none=True)
            objective.backward()
            optimizer.step()
            total += loss.item() * (1 if arguments.loss == "published" else count)
            known += count
        return {
            "epoch": epoch + 1,
            "learning_rate": optimizer.param_groups[0]["lr"],
            "loss": total / max(known, 1),
            "seconds": time.perf_counter() - start,
        }

    def _class_subset(self, draw: np.random.Generator) -> Tensor | None:
        if self.arguments.class_sample is None:
            return None
        chosen = draw.choice(len(self.model.classes), self.arguments.class_sample, replace=False)
        return torch.from_numpy(np.sort(chosen))

    def _loss(self, logits: DualLogits, labels: Tensor) -> Tensor:
        arguments = self.arguments
        return asymmetric_loss(
            logits,
            labels,
            gamma_positive=arguments.gamma_positive,
            gamma_negative=arguments.gamma_negative,
            margin=arguments.margin,
            reduction="sum" if arguments.loss == "published" else "mean",
        )

    def _logits(self, features: RegionFeatures) -> DualLogits:
        parts = []
        with torch.no_grad():
            for rows in np.split(np.arange(len(features)), range(SCORE_BATCH, len(features), SCORE_BATCH)):
                parts.append(self.model.logits_from_regions(features.batch(rows).to(self.model.device)))
        return DualLogits(*(torch.cat(each).float().cpu() for each in zip(*parts, strict=True)))

    def _scores(self, features: RegionFeatures) -> np.ndarray:
        return probabilities(self._logits(features)).numpy()

    def _validate(self, features: RegionFeatures) -> dict[str, Any]:
        assert self.valid_data is not None
        if self.arguments.finetune != "none":
            features = self._encode(self.valid_data)
        labels = self.valid_data.labels[features.kept]
        logits = self._logits(features)
        known = max(int((labels != 0).sum()), 1)
        loss = float(self._loss(logits, torch.from_numpy(labels)))
        return {
            "valid_loss": loss / known if self.arguments.loss == "published" else loss,
            "valid_map": mean_average_precision(probabilities(logits).numpy(), labels),
        }

    def _finish(self, valid: RegionFeatures | None) -> dict[str, Any]:
        """Fit thresholds where there are validation images, and report on these."""
        if valid is None or self.valid_data is None:
            return {}
        if self.arguments.finetune != "none":
            valid = self._encode(self.valid_data)
        scores, labels = self._scores(valid), self.valid_data.labels[valid.kept]
        if self.arguments.fit_thresholds and (labels > 0).any():
            self.model.set_thresholds(class_thresholds(scores, labels))
        report = evaluate(
            scores, labels, self.valid_data.classes, threshold=self.model.thresholds.cpu().numpy()
        )
        return {"validation": report.to_dict()}

    def _resume(
        self,
        optimizer: torch.optim.Optimizer,
        learnable: dict[str, nn.Parameter],
        chosen: dict[str, Tensor],
        anchor: Anchor,
    ) -> dict[str, Any] | None:
        if not self.arguments.resume or self.arguments.output_dir is None:
            return None
        found = read_checkpoint(self.arguments.output_dir)
        if found is None:
            return None
        tensors, state = found
        if state.pop("run", None) != self._record.identity():
            raise ModelError(
                f"the checkpoint in {self.arguments.output_dir} belongs to a run with other data, classes or "
                "options: repeat the options of that run, or choose another output_dir"
            )
        with torch.no_grad():
            for name, parameter in learnable.items():
                parameter.copy_(tensors[f"now.{name}"])
                chosen[name].copy_(tensors[f"chosen.{name}"])
        anchor.restore(tensors)
        restore_optimizer(optimizer, tensors)
        return state


def check_classes(model: DualCoOp, data: LabelledImages) -> None:
    """Refuse data whose label columns are not the model's classes.

    Raises:
        ModelError: naming classes that are missing or unknown.
    """
    if tuple(data.classes) == tuple(model.classes):
        return
    missing = [name for name in model.classes if name not in data.classes]
    unknown = [name for name in data.classes if name not in model.classes]
    parts = [
        f"{kind}: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
        for kind, names in (("missing in the data", missing), ("unknown to the model", unknown))
        if names
    ]
    raise ModelError(
        f"the data's {len(data.classes)} classes are not the model's {len(model.classes)} "
        f"({'; '.join(parts) or 'their order differs'}): load the data with classes=model.classes"
    )


def _copies(learnable: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in learnable.items()}
