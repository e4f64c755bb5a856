"""Training of the contexts: arguments, frozen features, schedule, checkpoints, and the record of a run."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dualcoop.training.arguments import TrainingArguments as TrainingArguments
    from dualcoop.training.features import RegionFeatures as RegionFeatures
    from dualcoop.training.features import encode_images_once as encode_images_once
    from dualcoop.training.trainer import Reporter as Reporter
    from dualcoop.training.trainer import Trainer as Trainer
    from dualcoop.training.trainer import TrainingResult as TrainingResult

# Imported when first asked for, so that the command line can show the arguments' defaults without torch.
_HOMES = {
    "RegionFeatures": "dualcoop.training.features",
    "Reporter": "dualcoop.training.trainer",
    "Trainer": "dualcoop.training.trainer",
    "TrainingArguments": "dualcoop.training.arguments",
    "TrainingResult": "dualcoop.training.trainer",
    "encode_images_once": "dualcoop.training.features",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
