"""The state of a run between two epochs: all that changes in it, and all that a checkpoint holds."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from dualcoop.errors import ModelError, Option
from dualcoop.training.anchor import Anchor
from dualcoop.training.arguments import TrainingArguments, renewed
from dualcoop.training.callbacks import Callback
from dualcoop.training.checkpoints import optimizer_tensors, read_checkpoint, restore_optimizer, write_checkpoint
from dualcoop.training.learnable import assign, copies, make_optimizer

NOW, CHOSEN = "now.", "chosen."


@dataclass
class Epochs:
    """The epochs so far.

    Attributes:
        done: their number.
        chosen: the one whose contexts the run would end with now, from 1; 0 before the first.
        best: its validation mAP; None where the last epoch is taken whatever it is.
        history: one row per epoch.
    """

    done: int = 0
    chosen: int = 0
    best: float | None = None
    history: list[dict[str, Any]] = field(default_factory=list)

    def add(self, row: dict[str, Any], select: str) -> bool:
        """Take in the row of the next epoch; whether this epoch is the chosen one now.

        With `select` "best" the row has a "valid_map", and the first of equally good epochs stays the best.
        """
        self.done += 1
        self.history.append(row)
        better = select == "last" or self.best is None or row["valid_map"] > self.best
        if better:
            self.chosen = self.done
            self.best = row["valid_map"] if select == "best" else None
        return better

    def are_over(self, arguments: TrainingArguments) -> bool:
        """Whether all are done, or patience has run out."""
        if self.done >= arguments.epochs:
            return True
        return arguments.patience is not None and self.done - self.chosen >= arguments.patience


@dataclass(eq=False)
class Checkpoints(Callback):
    """Writes the checkpoints of a run that are due into its folder; see `Run.save`."""

    run: "Run"
    folder: Path
    identity: dict[str, Any]

    def epoch(self, row: dict[str, Any]) -> None:
        """Write one, if this is an epoch for it; ModelError when it cannot be written."""
        if self.run.checkpoint_is_due():
            self.run.save(self.folder, self.identity)


class Run:
    """Parameters in training by name, their chosen values, the optimizer, the anchor and the epochs so far."""

    def __init__(self, arguments: TrainingArguments, learnable: dict[str, nn.Parameter], anchor: Anchor) -> None:
        self.arguments = arguments
        self.learnable = learnable
        self.chosen = copies(learnable)
        self.optimizer = make_optimizer(arguments, learnable)
        self.anchor = anchor
        self.epochs = Epochs()

    def add(self, row: dict[str, Any]) -> None:
        """Take in the row of an epoch that is over, and its parameters if it is the chosen one now."""
        if self.epochs.add(row, self.arguments.select):
            self.chosen = copies(self.learnable)

    def is_over(self) -> bool:
        """Whether there is nothing left to train."""
        return self.epochs.are_over(self.arguments)

    def checkpoint_is_due(self) -> bool:
        """Whether this is an epoch after which a checkpoint is written."""
        return self.is_over() or self.epochs.done % self.arguments.checkpoint_every == 0

    def save(self, folder: Path, identity: dict[str, Any]) -> None:
        """Write a checkpoint; `identity`, JSON values, is what another call must agree with to go on with this run.

        Raises:
            ModelError: when it cannot be written.
        """
        tensors = {f"{NOW}{name}": value for name, value in copies(self.learnable).items()}
        tensors |= {f"{CHOSEN}{name}": value for name, value in self.chosen.items()}
        tensors |= optimizer_tensors(self.optimizer) | self.anchor.tensors()
        write_checkpoint(folder, tensors, {"run": identity, "epochs": asdict(self.epochs)})

    def resume(self, folder: Path, identity: dict[str, Any]) -> None:
        """Go on from the checkpoint in the folder, if there is one.

        Raises:
            ModelError: when it is damaged or belongs to another run.
        """
        found = read_checkpoint(folder)
        if found is None:
            return
        tensors, state = found
        saved = state.get("run", {})
        if {**saved, "arguments": renewed(saved.get("arguments", {}))} != identity:
            what = f"the checkpoint in {folder} belongs to a run with other data, classes, backbone or options"
            remedy = ("repeat the options of that run, or choose another ", Option("output_dir"))
            raise ModelError(what, remedy=remedy)
        try:
            assign(self.learnable, {name: tensors[f"{NOW}{name}"] for name in self.learnable})
            self.chosen = {name: tensors[f"{CHOSEN}{name}"].to(to.device) for name, to in self.learnable.items()}
            self.anchor.restore(tensors)
            restore_optimizer(self.optimizer, tensors)
            self.epochs = Epochs(**state["epochs"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            what = f"the checkpoint in {folder} does not have what this version of dualcoop needs ({error})"
            raise ModelError(what, remedy="delete it and start the run again") from error
