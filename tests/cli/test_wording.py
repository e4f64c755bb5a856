import pytest

from dualcoop.cli.wording import as_typed

OPTIONS = ("strict", "unlisted", "images", "data_format", "valid_fraction", "minus_one")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("Pass strict=True to stop", "Pass --strict to stop"),
        ("Say unlisted='absent' or unlisted=\"unknown\".", "Say --unlisted absent or --unlisted unknown."),
        ("Pass images= with the folder", "Pass --images with the folder"),
        ("Pass format=.", "Pass --data-format."),
        ("the option valid_fraction=0.2 is", "the option --valid-fraction 0.2 is"),
        ("valid_fraction=0.2.", "--valid-fraction 0.2."),
        ("valid_fraction is 7, expected less", "--valid-fraction is 7, expected less"),
        ("the strict is long, strict is not first", "the strict is long, strict is not first"),
        ("load it with classes=[...]", "load it with classes=[...]"),
        ("model.strict=True", "model.strict=True"),
        ("non_strict=True", "non_strict=True"),
        ("labels.csv, row 3", "labels.csv, row 3"),
    ],
)
def test_python_options_become_command_line_options(message, expected):
    assert as_typed(message, OPTIONS) == expected


def test_output_format_keeps_its_name_where_no_data_are_read():
    assert as_typed("format='csv'", ["format"]) == "--format csv"


def test_without_options_nothing_changes():
    assert as_typed("strict=True", []) == "strict=True"


def test_weights_on_disk_are_given_as_the_command_line_takes_them():
    message = 'fetch it and call create_backbone("RN101/openai", pretrained="path/to/that/file"), or use "lite"'
    expected = 'fetch it and pass --backbone RN101/openai@path/to/that/file, or use "lite"'
    assert as_typed(message, ["backbone"]) == expected
    assert as_typed(message, ["strict"]) == message
