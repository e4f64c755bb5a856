"""Progress bars with rates and remaining time; silent when nobody watches."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from rich import progress as bars
from rich.console import Console
from rich.text import Text

from dualcoop.cli.messages import stderr_console
from dualcoop.counting import Progress

SPEED_WINDOW = 60.0


class RateColumn(bars.ProgressColumn):
    """Units per second, or seconds per unit where they are slow."""

    def render(self, task: bars.Task) -> Text:
        """The rate over the last minute, or over the whole task once it is finished."""
        speed = task.finished_speed or task.speed
        if not speed:
            return Text("")
        unit = task.fields["unit"]
        return Text(f"{speed:.1f} {unit}s/s" if speed >= 1 else f"{1 / speed:.1f} s/{unit}", style="cyan")


def progress_display(console: Console | None = None) -> bars.Progress:
    """An empty display on stderr, or on `console`; it draws only in a terminal."""
    console = console or stderr_console()
    return bars.Progress(
        bars.TextColumn("{task.description}"),
        bars.BarColumn(bar_width=None),
        bars.MofNCompleteColumn(),
        RateColumn(),
        bars.TimeRemainingColumn(compact=True),
        console=console,
        disable=not console.is_terminal,
        speed_estimate_period=SPEED_WINDOW,
        expand=True,
    )


@contextmanager
def progress_bar(
    description: str, total: int | None = None, *, unit: str = "image", console: Console | None = None
) -> Iterator[Progress]:
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
    with console.status(message) if console.is_terminal else nullcontext():
        yield
