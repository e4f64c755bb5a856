"""What hears how a run of training goes on: displays, writers of files, trackers of experiments."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dualcoop.training.result import TrainingResult


class Callback:
    """Hears of a run; a subclass says what it does about what it wants to hear of.

    What a method raises ends the run.
    """

    def encoding(self, done: int, total: int | None) -> None:
        """Views of images encoded so far, of one part of the data after the other."""

    def epoch(self, row: dict[str, Any]) -> None:
        """An epoch is over, its checkpoint written.

        Args:
            row: of the epoch, as `TrainingResult.history` has it; a copy.
        """

    def end(self, result: "TrainingResult") -> None:
        """The run is over, the model as it stays; what the run writes is written."""


class Callbacks(Callback):
    """Tells several, in their order."""

    def __init__(self, callbacks: Iterable[Callback]) -> None:
        self._callbacks = tuple(callbacks)

    def encoding(self, done: int, total: int | None) -> None:
        """Tell of encoded images."""
        for callback in self._callbacks:
            callback.encoding(done, total)

    def epoch(self, row: dict[str, Any]) -> None:
        """Tell of an epoch."""
        for callback in self._callbacks:
            callback.epoch(dict(row))

    def end(self, result: "TrainingResult") -> None:
        """Tell of the end."""
        for callback in self._callbacks:
            callback.end(result)
