"""What the commands say besides their results: one line at a time, on stderr, without traceback."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from dualcoop.cli.front_end import in_words
from dualcoop.errors import DualCoOpWarning

PACKAGE = str(Path(__file__).resolve().parents[1])


def stderr_console() -> Console:
    """A console on what stderr is now."""
    return Console(stderr=True)


def say(message: Any, *, style: str = "", mark: str = "") -> None:
    """One message on stderr, see `in_words`; in a terminal it is wrapped, and `mark` before it has the style."""
    console = stderr_console()
    text = Text.assemble((f"{mark}: " if mark else "", style), in_words(message))
    console.print(text, soft_wrap=not console.is_terminal, highlight=False)


def warn(message: Any) -> None:
    """Something that the user should know although the command goes on."""
    say(message, style="bold yellow", mark="warning")


def complain(message: Any) -> None:
    """Why the command stops."""
    say(message, style="bold red", mark="error")


def duration(seconds: float) -> str:
    """Seconds as a person says them: "4.2 s", "3 min 05 s", "1 h 02 min"."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def storage(size: int) -> str:
    """Bytes as a person says them: "512 B", "3.1 KiB", "7.5 MiB", "2.0 GiB"."""
    if size < 2**10:
        return f"{size} B"
    for unit, power in (("KiB", 10), ("MiB", 20)):
        if size < 2 ** (power + 10):
            return f"{size / 2**power:.1f} {unit}"
    return f"{size / 2**30:.1f} GiB"


@contextmanager
def plain_warnings(*, everything: bool = False) -> Iterator[None]:
    """Show own warnings as messages, each once, and others not at all; or `everything` as Python shows it."""
    if everything:
        yield
        return
    shown: set[str] = set()

    def show(message: Warning | str, category: type[Warning], filename: str, *_: object, **__: object) -> None:
        own = isinstance(message, DualCoOpWarning)
        text = in_words(message if own else str(message))
        if (own or Path(filename).resolve().is_relative_to(PACKAGE)) and text not in shown:
            shown.add(text)
            warn(text)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = show
        yield
