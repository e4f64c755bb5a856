"""Progress of a training run: a bar for encoding, a bar for epochs, or plain lines where nobody watches."""

from typing import TYPE_CHECKING, Any

from rich.progress import TaskID

from dualcoop.cli.messages import say, stderr_console
from dualcoop.cli.progress import progress_display
from dualcoop.training.callbacks import Callback

if TYPE_CHECKING:
    from typing_extensions import Self


class TrainingDisplay(Callback):
    """Shows runs of so many epochs, as a context; `lines` says each epoch where there is no terminal for bars."""

    def __init__(self, epochs: int, *, lines: bool = True) -> None:
        self.epochs = epochs
        self._lines = lines and not stderr_console().is_terminal
        self._display = progress_display()
        self._encoding: TaskID | None = None
        self._epochs: TaskID | None = None

    def __enter__(self) -> "Self":
        self._display.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._display.stop()

    def step(self, text: str) -> None:
        """Say what comes next; the bars of what came before go."""
        for task in self._display.task_ids:
            self._display.remove_task(task)
        self._encoding = self._epochs = None
        if self._display.console.is_terminal:
            self._display.console.print(text, highlight=False)
        else:
            say(text)

    def encoding(self, done: int, total: int | None) -> None:
        """Images encoded so far; each part of the data gets a bar of its own."""
        if self._encoding is None:
            self._encoding = self._display.add_task("encoding images", total=total, unit="image")
        self._display.update(self._encoding, completed=done, total=total)
        if done == total:
            self._encoding = None

    def epoch(self, row: dict[str, Any]) -> None:
        """One more epoch is over; the first one of another run starts a bar of its own."""
        if self._epochs is None or row["epoch"] == 1:
            self._epochs = self._display.add_task("training", total=self.epochs, unit="epoch")
        measured = f", validation mAP {row['valid_map']:.1f}" if "valid_map" in row else ""
        text = f"loss {row['loss']:.4f}{measured}"
        self._display.update(self._epochs, completed=row["epoch"], description=f"training: {text}")
        if self._lines:
            say(f"epoch {row['epoch']}/{self.epochs}: {text}")
