from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import typer
from typer.testing import CliRunner

from dualcoop.cli.option_groups import FieldsOf, given, grouped, plain
from dualcoop.options import Counted, option


@dataclass(frozen=True)
class Paint:
    PANEL: ClassVar = "Paints"

    colour: Literal["red", "blue"] = option("red", "Of it.")
    coats: Counted = option(2, flags=("--coats", "-n"))
    can: Path | None = option(None, metavar="FILE")
    glossy: bool = option(False)


@dataclass(frozen=True)
class Wall:
    room: str | None = option("hall", "Where it stands.", panel="Walls", word_for_none="outside")
    sides: tuple[Literal["north", "south"], ...] = option((), panel="Walls")
    thickness: float = option(0.3, "For Python alone.")


def invoke(*arguments):
    app = typer.Typer()
    seen = []

    @app.command()
    @grouped
    def paint(
        context: typer.Context,
        house: str,
        *,
        paint: Paint,
        wall: Annotated[dict[str, Any], FieldsOf(Wall)],
        quick: bool = False,
    ) -> None:
        """Paint a wall."""
        seen.append((house, paint, wall, quick, given(context, [*plain(paint), *wall])))

    result = CliRunner().invoke(app, list(arguments))
    return result, seen


def test_fields_become_options_and_come_back_as_a_group():
    result, seen = invoke("mine", "-n", "3", "--quick", "--colour", "blue", "--sides", "north", "--sides", "south")
    assert result.exit_code == 0, result.output
    wall = {"room": "hall", "sides": ["north", "south"]}
    assert seen == [("mine", Paint("blue", 3), wall, True, {"coats", "colour", "sides"})]


def test_defaults_are_the_dataclass_own_and_count_as_not_given():
    assert invoke("mine")[1] == [("mine", Paint(), {"room": "hall", "sides": []}, False, set())]


def test_limits_and_choices_of_the_fields_hold():
    assert invoke("mine", "--coats", "0")[0].exit_code == 2
    assert invoke("mine", "--colour", "green")[0].exit_code == 2


def test_options_without_a_panel_are_not_offered_and_flags_have_no_opposite_of_themselves():
    assert invoke("mine", "--thickness", "1")[0].exit_code == 2
    assert invoke("mine", "--glossy")[0].exit_code == 0
    assert invoke("mine", "--no-glossy")[0].exit_code == 2


def test_help_is_that_of_the_command_and_of_the_fields():
    output = " ".join(invoke("--help")[0].output.replace("│", " ").split())
    assert "Paint a wall." in output
    assert "Of it." in output
    assert 'Where it stands. "outside" stands for none.' in output


def test_options_stand_under_their_own_heading_or_that_of_their_class():
    output = invoke("--help")[0].output
    headings = [output.index(heading) for heading in (" Paints ", "--colour", "--glossy", " Walls ", "--room")]
    assert headings == sorted(headings)


def test_plain_values_are_json():
    assert plain(Paint("blue", 1, Path("a/b"))) == {"colour": "blue", "coats": 1, "can": "a/b", "glossy": False}
