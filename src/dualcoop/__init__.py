"""dualcoop: recognise every label in an image when only a few labels are known."""

from typing import TYPE_CHECKING

from dualcoop.lazy import lazy_attributes
from dualcoop.version import __version__

if TYPE_CHECKING:
    from dualcoop.backbones import create_backbone as create_backbone
    from dualcoop.data.loading import load_dataset as load_dataset
    from dualcoop.inference.prediction import Prediction as Prediction
    from dualcoop.methods.dualcoop import DualCoOp as DualCoOp
    from dualcoop.prompts import PromptConfig as PromptConfig
    from dualcoop.prompts import TemplateConfig as TemplateConfig
    from dualcoop.training.arguments import TrainingArguments as TrainingArguments
    from dualcoop.training.trainer import Trainer as Trainer

# Imported when first asked for, so that what needs no torch starts without it.
_HOMES = {
    "DualCoOp": "dualcoop.methods.dualcoop",
    "Prediction": "dualcoop.inference.prediction",
    "PromptConfig": "dualcoop.prompts",
    "TemplateConfig": "dualcoop.prompts",
    "Trainer": "dualcoop.training.trainer",
    "TrainingArguments": "dualcoop.training.arguments",
    "create_backbone": "dualcoop.backbones",
    "load_dataset": "dualcoop.data.loading",
}

__all__ = ["__version__", *_HOMES]

__getattr__ = lazy_attributes(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
