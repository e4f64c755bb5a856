"""`dualcoop cache`: what region features are kept, whether they are whole, and removing them."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from dualcoop.cli.command_group import FAILED, Command
from dualcoop.cli.messages import duration, say, storage, warn
from dualcoop.cli.progress import progress_bar
from dualcoop.counting import counted
from dualcoop.errors import ConfigError, Option

if TYPE_CHECKING:
    from dualcoop.cache import Contents

cache = typer.Typer(
    name="cache",
    help="List, check and clear the region features that are kept on disk.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    add_completion=False,
)

Folder = Annotated[
    Path | None,
    typer.Option("--cache", metavar="DIR", help="The folder; by default $DUALCOOP_CACHE or the user's own."),
]


@cache.command("list", cls=Command)
def list_(folder: Folder = None) -> None:
    """Show what is kept: of which backbone, how much, and when it was last used."""
    from dualcoop.cache import contents

    place = _place(folder)
    found = contents(place)
    if found:
        Console().print(_table(found))
    size = sum(each.size for each in found)
    say(f"{place}: {storage(size)} in {counted(sum(each.shards for each in found), 'shard')}")


@cache.command(cls=Command)
def check(
    folder: Folder = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Keep what is whole of damaged shards, and remove the rest.")
    ] = False,
) -> None:
    """Compare every checksum. Damaged features are never used: they are encoded again when they are next needed."""
    from dualcoop.cache import check as check_all

    place = _place(folder)
    with progress_bar("checking", unit="shard") as update:
        found = check_all(place, repair=repair, progress=update)
    for damage in found:
        usable = f"{damage.rows} views are whole, {damage.lost} not"
        warn(f"{damage.path}: {damage.reason}; {'nothing of it can be used' if damage.lost is None else usable}.")
    if not found:
        say(f"{place}: everything is whole")
    elif repair:
        say(f"{counted(len(found), 'damaged shard')} repaired; what was lost is encoded again when it is needed")
    else:
        say((Option("repair"), " keeps what is whole and removes the rest"))
        raise typer.Exit(FAILED)


@cache.command(cls=Command)
def clear(
    folder: Folder = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Only features of this backbone: its name, or the beginning of its fingerprint."
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All features.")] = False,
) -> None:
    """Remove region features. Runs that read from them go on, except on Windows, where such files stay."""
    from dualcoop.cache import clear as remove

    if everything == (backbone is not None):
        raise ConfigError(("say what to remove: ", Option("backbone"), " NAME, or ", Option("everything")))
    place = _place(folder)
    removed = remove(place, backbone)
    whose = "" if backbone is None else f" of {backbone}; `dualcoop cache list` names the backbones"
    say(f"{storage(removed)} removed from {place}" if removed else f"{place}: there are no features{whose}")


def _place(folder: Path | None) -> Path:
    from dualcoop.cache import default_folder

    return default_folder() if folder is None else folder.expanduser()


def _table(found: "Sequence[Contents]") -> Table:
    numbers = (Column(name, justify="right") for name in ("views of images", "shards", "size", "last used"))
    table = Table("backbone", "input", "regions", "computed, kept", *numbers, box=None, pad_edge=False)
    for each in found:
        what = [each.folder.name, "?", "?", "damaged"]
        if (made := each.encoding) is not None:
            what = [made.backbone, f"{made.image_size} px", f"{made.regions} x {made.dimensions}"]
            what.append(f"{made.precision}, {made.stored}")
        table.add_row(*what, f"{each.rows:,}", f"{each.shards:,}", storage(each.size), _ago(each.used))
    return table


def _ago(used: float | None) -> str:
    seconds = 0 if used is None else time.time() - used
    if seconds < 60:
        return "-" if used is None else "just now"
    return f"{seconds / 86400:.0f} days ago" if seconds > 2 * 86400 else f"{duration(seconds)} ago"
