"""Errors as data, and what front ends make of them."""

import pickle

import pytest

from dualcoop.errors import AnyOf, ConfigError, DataError, Only, Option


class Shell:
    name = "shell"

    def spelled(self, option: Option) -> str | None:
        flag = None if option.name == "classes" else f"--{option.name.replace('_', '-')}"
        return flag if flag is None or not isinstance(option.value, str | int) else f"{flag} {option.value}"


TOO_MANY_VIEWS = ConfigError(
    "is 3, but without augmentation all would be the same",
    option="views",
    remedy=("give ", AnyOf(Option("augmentation", "crop"), Option("classes", ["dog"]), Option("views", 1))),
)


def test_python_spells_options_as_arguments() -> None:
    assert str(TOO_MANY_VIEWS) == (
        "views is 3, but without augmentation all would be the same. "
        "Give augmentation='crop', classes=['dog'] or views=1."
    )


def test_another_front_end_spells_them_its_own_way_and_leaves_out_what_it_lacks() -> None:
    assert TOO_MANY_VIEWS.message.rendered(Shell()) == (
        "--views is 3, but without augmentation all would be the same. Give --augmentation crop or --views 1."
    )


@pytest.mark.parametrize(("front_end", "expected"), [("shell", "no. Press Ctrl-C."), ("python", "no")])
def test_words_for_one_front_end_are_left_out_elsewhere(front_end: str, expected: str) -> None:
    error = DataError("no", remedy=Only(front_end, "press Ctrl-C"))
    assert error.message.rendered(Shell()) == (expected if front_end == "shell" else "no")


def test_a_plain_error_is_its_text() -> None:
    assert str(DataError("labels.csv: no rows.")) == "labels.csv: no rows."
    assert str(DataError("no rows", where="labels.csv")) == "labels.csv: no rows"


def test_errors_travel_between_processes() -> None:
    copy = pickle.loads(pickle.dumps(TOO_MANY_VIEWS))
    assert type(copy) is ConfigError
    assert copy.message == TOO_MANY_VIEWS.message
