"""Training of the contexts: arguments, frozen features, schedule, checkpoints, and the record of a run."""

from typing import TYPE_CHECKING

from dualcoop.lazy import lazy_attributes

if TYPE_CHECKING:
    from dualcoop.training.arguments import TrainingArguments as TrainingArguments
    from dualcoop.training.callbacks import Callback as Callback
    from dualcoop.training.fitting import fit_prompts as fit_prompts
    from dualcoop.training.result import TrainingResult as TrainingResult
    from dualcoop.training.trainer import Trainer as Trainer

# Imported when first asked for, so that the command line can show the arguments' defaults without torch.
__all__, __getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "dualcoop.training.arguments": ("TrainingArguments",),
        "dualcoop.training.callbacks": ("Callback",),
        "dualcoop.training.fitting": ("fit_prompts",),
        "dualcoop.training.result": ("TrainingResult",),
        "dualcoop.training.trainer": ("Trainer",),
    },
)
