"""How every command ends: errors as one message, Ctrl-C with what was done kept, no traceback."""

import errno
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from dualcoop.cli.front_end import SHELL
from dualcoop.cli.messages import complain, plain_warnings, say
from dualcoop.errors import AnyOf, DualCoOpError, Message, Option

DEBUG = "--debug"
FAILED = 1
INTERRUPTED = 130
"""Exit code of a program stopped by Ctrl-C, as shells have it."""


class Command(TyperCommand):
    """A command whose options messages are spelled with, from the moment that its line is read."""

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """As every command's."""
        SHELL.speak_for(self.params)
        return super().make_context(*arguments, **options)


class CommandGroup(TyperGroup):
    """Commands that report errors in one message; `--debug`, anywhere on the line, lets them through."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Take `--debug` out wherever it stands before a bare `--`."""
        end = args.index("--") if "--" in args else len(args)
        ctx.meta[DEBUG] = DEBUG in args[:end]
        return super().parse_args(ctx, [arg for i, arg in enumerate(args) if arg != DEBUG or i >= end])

    def invoke(self, ctx: Any) -> Any:
        """Run the command.

        Raises:
            typer.Exit: with code 1 after an error and 130 after Ctrl-C, once the message is out.
        """
        debug = ctx.meta[DEBUG]
        try:
            with plain_warnings(everything=debug):
                return super().invoke(ctx)
        except KeyboardInterrupt:
            say("stopped")
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            message = _message(error)
            if debug or message is None:
                raise
            complain(message)
            raise typer.Exit(FAILED) from None


def _message(error: Exception) -> Message | str | None:
    """What to tell the user; None for what the command line framework itself deals with."""
    if isinstance(error, DualCoOpError):
        return error.message
    home = type(error).__module__.partition(".")[0]
    if home in ("typer", "click") or (isinstance(error, OSError) and error.errno == errno.EPIPE):
        return None
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        smaller = AnyOf(("a smaller ", Option("batch_size")), Option("device", "cpu"))
        return Message("memory ran out", remedy=("use ", smaller))
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror or error}."
    again = f"Run the command again with {DEBUG} and report what it shows."
    return f"this should not happen: {type(error).__name__}: {error}. {again}"
