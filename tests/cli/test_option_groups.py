from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from typer.testing import CliRunner

from dualcoop.cli.option_groups import given, grouped, plain


class Colour(str, Enum):
    red = "red"
    blue = "blue"


@dataclass(frozen=True)
class Paint:
    colour: Annotated[Colour, typer.Option(help="Of it.")] = Colour.red
    coats: Annotated[int, typer.Option(min=1)] = 2
    can: Annotated[Path | None, typer.Option()] = None


def invoke(*arguments):
    app = typer.Typer()
    seen = []

    @app.command()
    @grouped
    def paint(context: typer.Context, wall: str, *, paint: Paint, quick: bool = False) -> None:
        """Paint a wall."""
        seen.append((wall, paint, quick, given(context, paint)))

    result = CliRunner().invoke(app, list(arguments))
    return result, seen


def test_fields_become_options_and_come_back_as_a_group():
    result, seen = invoke("north", "--coats", "3", "--quick", "--colour", "blue")
    assert result.exit_code == 0, result.output
    assert seen == [("north", Paint(Colour.blue, 3), True, {"coats": 3, "colour": Colour.blue})]


def test_defaults_are_the_dataclass_own_and_count_as_not_given():
    assert invoke("north")[1] == [("north", Paint(), False, {})]


def test_limits_and_choices_of_the_fields_hold():
    assert invoke("north", "--coats", "0")[0].exit_code == 2
    assert invoke("north", "--colour", "green")[0].exit_code == 2


def test_help_is_the_commands_own():
    output = invoke("--help")[0].output
    assert "Paint a wall." in output
    assert "Of it." in output


def test_plain_values_are_json():
    assert plain(Paint(Colour.blue, 1, Path("a/b"))) == {"colour": "blue", "coats": 1, "can": "a/b"}
