"""Images and data sets as the commands find and load them, and the summary that they print."""

import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Column, Table

from dualcoop.cli.front_end import in_words
from dualcoop.cli.messages import say, warn
from dualcoop.cli.option_groups import plain
from dualcoop.cli.options import DataOptions
from dualcoop.cli.progress import progress_bar
from dualcoop.counting import counted
from dualcoop.errors import ConfigError, DataError, Option

if TYPE_CHECKING:
    from dualcoop.data.labels import DatasetSplits

SHOWN_PROBLEMS = 10


def load_data(table: Path, options: DataOptions, reading: dict[str, Any]) -> "DatasetSplits":
    """`load_dataset` with the options of the command line; problems are shown one by one."""
    from dualcoop.data.loading import load_dataset
    from dualcoop.data.problems import ProblemsWarning

    bar = progress_bar("checking images") if options.check_images else nullcontext(None)
    with warnings.catch_warnings(record=True) as caught, bar as update:
        warnings.simplefilter("always")
        data = load_dataset(table, **plain(options), **reading, progress=update)
    for warning in caught:
        # The problems are listed below instead.
        if not isinstance(warning.message, ProblemsWarning):
            warnings.warn_explicit(warning.message, warning.category, __file__, 1)
    show_problems(data)
    return data


def images_at(paths: list[str], *, strict: bool) -> list[Path]:
    """Images at these files, folders and globs; what is not there stops the command if `strict`.

    Raises:
        DataError: when there is nothing, or something is missing and that is not allowed.
        ConfigError: when nothing is named.
    """
    from dualcoop.data.discovery import find_images

    found = find_images(paths)
    if found.problems and (strict or not found.paths):
        raise DataError(" ".join(in_words(problem) for problem in found.problems))
    for problem in found.problems:
        warn(problem)
    if not found.paths:
        raise ConfigError("name at least one image, folder or pattern.")
    return found.paths


def show_problems(data: "DatasetSplits") -> None:
    """List what is wrong with the data, whether it was left out or kept."""
    if not data.problems:
        return
    warn(f"{counted(len(data.problems), 'problem')} with the labels and images; what cannot be used was left out:")
    for problem in data.problems[:SHOWN_PROBLEMS]:
        say(("  ", problem.message))
    more = len(data.problems) - SHOWN_PROBLEMS
    if more > 0:
        say((f"  and {more:,} more (", Option("strict"), " stops at the first)"))


def show_summary(data: "DatasetSplits", console: Console) -> None:
    """Parts with their numbers of images and labels, the most frequent classes, and notes."""
    titles, *rows = data.part_rows()
    columns = (Column(title, justify="left" if title == "part" else "right") for title in titles)
    grid = Table(*columns, title=f"{data.source}: {counted(len(data.classes), 'class')}", title_justify="left")
    for row in rows:
        grid.add_row(*row)
    console.print(grid)
    for line in (data.frequent_classes(), *(f"note: {note}" for note in data.notes)):
        console.print(line, highlight=False, markup=False)
