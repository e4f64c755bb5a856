"""The `dualcoop` command."""

from typing import Annotated

import typer

from dualcoop import __version__
from dualcoop.cli.cache import cache
from dualcoop.cli.demo import demo
from dualcoop.cli.evaluate import evaluate
from dualcoop.cli.explain import explain
from dualcoop.cli.export import export
from dualcoop.cli.group import CommandGroup
from dualcoop.cli.info import info
from dualcoop.cli.tag import tag
from dualcoop.cli.train import train

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
    app.command(no_args_is_help=command not in (demo, info))(command)
app.add_typer(cache, name="cache")


def main() -> None:
    """Entry point of the `dualcoop` command."""
    app()
