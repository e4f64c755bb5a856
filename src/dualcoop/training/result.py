"""What a run of training comes to."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dualcoop.data.problems import Problem

if TYPE_CHECKING:
    from dualcoop.evaluation import EvaluationReport


@dataclass(frozen=True)
class TrainingResult:
    """Outcome of a run.

    Attributes:
        history: one row per epoch: epoch, learning_rate, loss, seconds (of its steps), and valid_loss and
            valid_map where there are validation images. Losses are means over the known labels.
        epoch: the epoch whose contexts the model has now, from 1; 0 when none was run.
        seconds: wall time of this call, encoding included; of a resumed run, its last part.
        problems: training and validation images that could not be read and were left out.
        validation: metrics of the model as it is now on the validation images; None where there are none.
    """

    history: tuple[dict[str, Any], ...]
    epoch: int
    seconds: float
    problems: tuple[Problem, ...] = ()
    validation: "EvaluationReport | None" = None
