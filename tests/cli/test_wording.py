import pytest

from dualcoop.cli.wording import as_typed, reworded, rewording

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


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "give augmentation='flip', 'crop' or 'published', or views=1",
            "give --augmentation flip, crop or published, or --views 1",
        ),
        ("use select='last'", "use --select last"),
        ("choose another output_dir; the one before it", "choose another --output; the one before it"),
        ("give a smaller image_size.", "give a smaller --image-size."),
        ("photos/image_size/1.jpg, image_size.jpg", "photos/image_size/1.jpg, image_size.jpg"),
        ("column 'image_size' is no class", "column 'image_size' is no class"),
    ],
)
def test_values_and_long_names_become_those_of_the_command_line(message, expected):
    assert as_typed(message, ["augmentation", "views", "select", "output", "image_size"]) == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "Label an image of each, correct the spelling, or leave them out with classes=[...].",
            "Label an image of each or correct the spelling.",
        ),
        ("Delete the column, or name the classes with classes=[...]. Write 1", "Delete the column. Write 1"),
        (
            "'lite' is not a saved model, and a new one needs class names: "
            "DualCoOp.from_pretrained('lite', classes=[...])",
            "'lite' is not a saved model. Give the folder that `dualcoop train` wrote, or owner/name on the hub",
        ),
        ("carry over: train with PromptConfig(class_specific=False)", "carry over: train with --shared"),
        ("Scale it down, or allow it with max_pixels=7.", "Scale it down."),
        (
            "Scale it down; if it is meant to be that large, raise PIL.Image.MAX_IMAGE_PIXELS and max_pixels.",
            "Scale it down.",
        ),
        (
            'no weights for X-1: give a checkpoint file, pretrained="path"',
            "no weights for X-1: give a checkpoint file: X-1@path",
        ),
        (
            "lite comes with its own weights: leave out pretrained='a.pt'",
            "lite comes with its own weights: leave out @a.pt",
        ),
    ],
)
def test_remedies_of_python_alone_become_those_of_the_command_line(message, expected):
    # `classes` is an option of `evaluate`, with another meaning.
    assert as_typed(message, ["classes"]) == expected


def test_a_backbone_from_the_hub_is_named_where_the_command_takes_it():
    message = "if it is a backbone, give class names: DualCoOp.from_pretrained('hf-hub:a/b', classes=[...])"
    assert (
        as_typed(message, ["backbone"])
        == "if it is a backbone, give --backbone hf-hub:a/b instead, and what to look for"
    )
    assert as_typed(message, ["classes"]) == "if it is a backbone, give hf-hub:a/b"


def test_the_backbone_of_a_trained_model_is_no_option():
    message = (
        'm: the model needs the backbone X, which cannot be loaded: call create_backbone("X", pretrained="p") '
        "If you have it elsewhere, pass backbone=create_backbone(...)"
    )
    typed = as_typed(message, ["backbone"])
    assert "--backbone" not in typed
    assert typed.endswith("use the model in Python: DualCoOp.from_pretrained(FOLDER, backbone=create_backbone(...))")


def test_problems_are_reworded_while_a_command_runs():
    with rewording(str.upper):
        assert reworded(ValueError("a")) == "A"
    assert reworded("a") == "a"
