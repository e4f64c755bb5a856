"""Progress bars with rates and remaining time; silent when nobody watches."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from dualcoop.cli.messages import stderr_console

Update = Callable[[int, int | None], None]
"""Called with what is done and the total, as the library's functions call their `progress`."""

SPEED_WINDOW = 60.0


class RateColumn(ProgressColumn):
    """Units per second, or seconds per unit where they are slow."""

    def render(self, task: Task) -> Text:
        """The rate over the last minute, or over the whole task once it is finished."""
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        unit = task.fields["unit"]
        return Text(f"{speed:.1f} {unit}s/s" if speed >= 1 else f"{1 / speed:.1f} s/{unit}", style="cyan")


def progress_display(console: Console | None = None) -> Progress:
    """An empty display on stderr, or on `console`; it draws only in a terminal."""
    console = console or stderr_console()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(compact=True),
        console=console,
        disable=not console.is_terminal,
        speed_estimate_period=SPEED_WINDOW,
        expand=True,
    )


@contextmanager
def progress_bar(
    description: str, total: int | None = None, *, unit: str = "image", console: Console | None = None
) -> Iterator[Update]:
    """One bar while the block runs; the value is to be called with (done, total)."""
    with progress_display(console) as display:
        task = display.add_task(description, total=total, unit=unit)

        def update(done: int, new_total: int | None = None) -> None:
            display.update(task, completed=done, total=total if new_total is None else new_total)

        yield update


@contextmanager
def waiting(message: str) -> Iterator[None]:
    """A spinner beside a message while something takes a moment; nothing outside a terminal."""
    console = stderr_console()
    if not console.is_terminal:
        yield
        return
    with console.status(message):
        yield
