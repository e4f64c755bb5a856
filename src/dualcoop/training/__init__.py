"""Training of the contexts: arguments, frozen features, schedule, checkpoints, and the record of a run."""

from dualcoop.training.arguments import TrainingArguments
from dualcoop.training.features import RegionFeatures, encode_images_once
from dualcoop.training.trainer import Reporter, Trainer, TrainingResult

__all__ = [
    "RegionFeatures",
    "Reporter",
    "Trainer",
    "TrainingArguments",
    "TrainingResult",
    "encode_images_once",
]
