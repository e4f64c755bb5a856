"""dualcoop: recognise every label in an image when only a few labels are known."""

from typing import TYPE_CHECKING

from dualcoop.lazy import lazy_attributes
from dualcoop.version import __version__ as __version__

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
__all__, __getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "dualcoop.backbones": ("create_backbone",),
        "dualcoop.data.loading": ("load_dataset",),
        "dualcoop.inference.prediction": ("Prediction",),
        "dualcoop.methods.dualcoop": ("DualCoOp",),
        "dualcoop.prompts": ("PromptConfig", "TemplateConfig"),
        "dualcoop.training.arguments": ("TrainingArguments",),
        "dualcoop.training.trainer": ("Trainer",),
        "dualcoop.version": ("__version__",),
    },
)
