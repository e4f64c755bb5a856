"""How every command ends: errors as one message, Ctrl-C with what was done kept, no traceback."""

import errno
from typing import Any

import typer
from typer.core import TyperGroup

from dualcoop.cli.messages import complain, plain_warnings, say
from dualcoop.cli.wording import as_typed, rewording
from dualcoop.errors import DualCoOpError

DEBUG = "--debug"
FAILED = 1
INTERRUPTED = 130
"""Exit code of a program stopped by Ctrl-C, as shells have it."""


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

        def in_its_words(message: str) -> str:
            command = self.commands.get(ctx.invoked_subcommand or "")
            return as_typed(message, [str(parameter.name) for parameter in command.params] if command else [])

        try:
            with rewording(in_its_words), plain_warnings(in_its_words, everything=debug):
                return super().invoke(ctx)
        except KeyboardInterrupt:
            say("stopped")
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            message = _message(error)
            if debug or message is None:
                raise
            complain(in_its_words(message))
            raise typer.Exit(FAILED) from None


def _message(error: Exception) -> str | None:
    """What to tell the user; None for what the command line framework itself deals with."""
    if isinstance(error, DualCoOpError):
        return str(error)
    home = type(error).__module__.partition(".")[0]
    if home in ("typer", "click") or (isinstance(error, OSError) and error.errno == errno.EPIPE):
        return None
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "memory ran out. Use a smaller --batch-size, or --device cpu."
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror or error}."
    return (
        f"this should not happen: {type(error).__name__}: {error}. Run the command again with {DEBUG} and report "
        "what it shows."
    )
