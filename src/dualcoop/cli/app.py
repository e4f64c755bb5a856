"""The `dualcoop` command."""

from functools import cache
from importlib import import_module
from typing import Annotated, Any

import typer

from dualcoop.cli.command_group import Command, CommandGroup
from dualcoop.version import __version__

SUMMARIES = {
    "tag": "Name what is in images.",
    "train": "Train a tagger on labelled images; a few labels for each are enough.",
    "evaluate": "Measure a model on labelled images: mAP, precision, recall and F1, each named with its protocol.",
    "explain": "Draw where in an image each label was looked for (Eq. 5 of the paper), as a heat map.",
    "export": "Write a model as one ONNX file: image tower and head, labels and thresholds.",
    "demo": "Show what a few labels do: tags photographs, trains on a few labels, writes a report. Needs no network.",
    "info": "Show versions, devices and backbones; or what a trained model's folder holds.",
    "cache": "List, check and clear the region features that are kept on disk.",
}
"""The first lines of the commands' own help, so that their list needs none of their modules."""


@cache
def load_command(name: str) -> Any:
    """The click command of this name, from the module of commands that is called like it."""
    found = getattr(import_module(f"dualcoop.cli.commands.{name}"), name)
    if not isinstance(found, typer.Typer):
        command, found = found, typer.Typer(rich_markup_mode="markdown", add_completion=False)
        found.command(cls=Command, no_args_is_help=name not in ("demo", "info"))(command)
    return typer.main.get_command(found)


class LazyCommands(CommandGroup):
    """Commands of which the one that runs is imported, and no other."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = {name: Command(name, help=summary) for name, summary in SUMMARIES.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Name, command and the rest of the line."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, name and load_command(name), rest


app = typer.Typer(
    name="dualcoop",
    cls=LazyCommands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dualcoop {__version__}")
        raise typer.Exit


@app.callback(epilog="Start with `dualcoop demo`; `dualcoop COMMAND --help` describes each command.")
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the whole traceback of an error. May stand anywhere.")
    ] = False,
) -> None:
    """Recognise every label in an image when only a few labels are known."""


def main() -> None:
    """Entry point of the `dualcoop` command."""
    app()
