from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pytest
from annotated_types import Ge, Gt, Le

from dualcoop.cli.front_end import ShellFrontEnd
from dualcoop.errors import ConfigError
from dualcoop.options import (
    AboveZero,
    Counted,
    Phrase,
    UnderOne,
    Whole,
    bound,
    check_options,
    choices,
    documented,
    option,
    option_of,
)


@documented
@dataclass(frozen=True)
class Cake:
    """A cake."""

    kinds: ClassVar[int] = 3
    layers: Counted = option(2, "Of sponge.")
    eggs: Whole | None = option(None)
    weight: AboveZero = option(1.0)
    sugar: UnderOne = option(0.2)
    tier: Annotated[float, Ge(0), Le(1)] = option(0.5)
    cover: Literal["icing", "none"] = option("icing", "On top.", panel="Look", flags=("--cover",))
    extras: tuple[Literal["nuts", "rum"], ...] = option(())
    cut: bool = option(False)
    message: Phrase | None = option(None)
    recipe: Path | None = option(None)

    def __post_init__(self):
        check_options(self)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"layers": 0}, "layers is 0, expected a whole number of at least 1"),
        ({"layers": 2.0}, "layers is 2.0, expected a whole number of at least 1"),
        ({"layers": True}, "layers is True, expected a whole number of at least 1"),
        ({"eggs": "2"}, "eggs is '2', expected a whole number of at least 0 or None"),
        ({"weight": 0}, "weight is 0, expected a number above 0"),
        ({"weight": float("inf")}, "weight is inf, expected a number above 0"),
        ({"sugar": 1}, "sugar is 1, expected a number of at least 0 and under 1"),
        ({"tier": 1.5}, "tier is 1.5, expected a number of at least 0 and at most 1"),
        ({"cover": "mud"}, "cover is 'mud', expected one of icing, none"),
        ({"extras": ["rum", "salt"]}, "extras is ['rum', 'salt'], expected some of nuts, rum"),
        ({"extras": "rum"}, "extras is 'rum', expected some of nuts, rum"),
        ({"cut": 1}, "cut is 1, expected True or False"),
        ({"message": " "}, "message is ' ', expected a phrase or None"),
        ({"recipe": 3}, "recipe is 3, expected a folder or None"),
    ],
)
def test_a_value_that_does_not_fit_its_type_is_refused_by_name(values, message):
    with pytest.raises(ConfigError) as caught:
        Cake(**values)
    assert str(caught.value) == message
    assert caught.value.message.option == next(iter(values))


def test_only_python_hears_of_none():
    with pytest.raises(ConfigError) as caught:
        Cake(eggs=-1)
    assert caught.value.message.rendered(ShellFrontEnd()) == "eggs is -1, expected a whole number of at least 0"


def test_text_may_stand_for_a_path_a_list_for_a_tuple_and_an_integer_for_a_number(tmp_path):
    cake = Cake(recipe="a.txt", extras=["nuts"], weight=2)
    assert (cake.recipe, cake.extras, cake.weight) == (Path("a.txt"), ("nuts",), 2.0)
    assert Cake(recipe=tmp_path).recipe == tmp_path


def test_an_unknown_option_is_a_mistake_of_the_programmer():
    with pytest.raises(TypeError, match="candles"):
        Cake(candles=3)


def test_types_tell_choices_and_bounds():
    assert choices(Literal["a", "b"] | None) == ("a", "b")
    assert choices(tuple[Literal["a"], ...]) == ("a",)
    assert choices(int) == ()
    assert (bound(Counted | None, Ge), bound(Counted, Le), bound(AboveZero, Gt)) == (1, None, 0)


def test_the_docstring_says_what_every_option_means():
    assert Cake.__doc__.startswith("A cake.\n\nAttributes:\n    layers: Of sponge.\n")


def test_an_option_is_taken_over_with_what_is_different_about_it():
    @dataclass(frozen=True)
    class Bun:
        cover: str = option_of(Cake, "cover", default="none")

    (field,) = fields(Bun)
    assert field.default == "none"
    assert field.metadata["help"] == "On top."
    assert field.metadata["flags"] == ("--cover",)
