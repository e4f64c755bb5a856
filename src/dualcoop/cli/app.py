"""The `dualcoop` command."""

from typing import Annotated

import typer

from dualcoop.cli.command_group import Command, CommandGroup
from dualcoop.cli.commands.cache import cache
from dualcoop.cli.commands.demo import demo
from dualcoop.cli.commands.evaluate import evaluate
from dualcoop.cli.commands.explain import explain
from dualcoop.cli.commands.export import export
from dualcoop.cli.commands.info import info
from dualcoop.cli.commands.tag import tag
from dualcoop.cli.commands.train import train
from dualcoop.version import __version__

app = typer.Typer(
    name="dualcoop",
    cls=CommandGroup,
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


for command in (tag, train, evaluate, explain, export, demo, info):
    app.command(cls=Command, no_args_is_help=command not in (demo, info))(command)
app.add_typer(cache, name="cache")


def main() -> None:
    """Entry point of the `dualcoop` command."""
    app()
