import pytest

from dualcoop.checks import check_choice, check_whole
from dualcoop.errors import ConfigError


@pytest.mark.parametrize("value", [0, 0.5, 2.0, "2", True, None])
def test_what_is_no_whole_number_or_too_small_is_refused_by_the_options_name(value):
    with pytest.raises(ConfigError) as caught:
        check_whole("batch_size", value, 1)
    assert str(caught.value) == f"batch_size is {value!r}, expected a whole number of at least 1"
    assert caught.value.message.option == "batch_size"


def test_the_least_value_and_more_are_taken():
    check_whole("epochs", 0, 0)
    check_whole("epochs", 7, 0)


def test_a_choice_is_refused_with_the_others_named():
    check_choice("format", "csv", ("csv", "json"))
    with pytest.raises(ConfigError) as caught:
        check_choice("format", "xml", iter(("csv", "json")))
    assert str(caught.value) == "format is 'xml', expected one of csv, json"
