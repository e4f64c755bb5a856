"""How messages that are data are spelled for the command that runs."""

import pytest

from dualcoop.cli.app import load_command
from dualcoop.cli.front_end import SHELL, ShellFrontEnd, in_words
from dualcoop.errors import AnyOf, ConfigError, Only, Option, rendered


@pytest.fixture(scope="module")
def train():
    front_end = ShellFrontEnd()
    front_end.speak_for(load_command("train").params)
    return front_end


@pytest.fixture(scope="module")
def evaluate():
    front_end = ShellFrontEnd()
    front_end.speak_for(load_command("evaluate").params)
    return front_end


@pytest.mark.parametrize(
    ("option", "spelled"),
    [
        (Option("images"), "--images"),
        (Option("views", 0), "--views 0"),
        (Option("augmentation", "crop"), "--augmentation crop"),
        (Option("positive_init", "a photo of a"), "--positive-init 'a photo of a'"),
        (Option("report_to", ("mlflow", "wandb")), "--report-to mlflow --report-to wandb"),
        (Option("strict", True), "--strict"),
        (Option("strict", False), None),
        (Option("residual", False), "--no-residual"),
        (Option("class_specific"), "--class-specific"),
        (Option("class_specific", False), "--shared"),
        (Option("fit_thresholds", False), "--keep-thresholds"),
        (Option("absence", None), None),
        (Option("format", "coco"), "--data-format coco"),
        (Option("output_dir"), "--output"),
        (Option("cache_dir"), "--cache"),
        (Option("table"), "TABLE"),
        (Option("table", "my labels.csv"), "'my labels.csv'"),
        (Option("max_pixels", 7), None),
        (Option("warmup_learning_rate"), None),
    ],
)
def test_options_are_spelled_as_the_command_has_them(train, option, spelled):
    assert train.spelled(option) == spelled


def test_the_same_name_is_spelled_by_what_the_library_means(evaluate):
    assert evaluate.spelled(Option("format", "voc")) == "--data-format voc"
    assert evaluate.spelled(Option("classes", ("dog",))) is None
    assert evaluate.spelled(Option("which_classes", "common")) == "--classes common"


def test_alternatives_that_the_command_lacks_drop_out(train):
    ways = ("give ", AnyOf(("allow it with ", Option("max_pixels", 7)), Option("views", 1), Option("strict", True)))
    assert rendered(ways, train) == "give --views 1 or --strict"


def test_words_for_python_alone_are_left_out(train):
    text = ("train shared prompts", Only("python", ": PromptConfig(...)"), Only("shell", " with --shared"))
    assert rendered(text, train) == "train shared prompts with --shared"


def test_an_error_names_its_option_and_its_remedy(train):
    error = ConfigError("is 3, but all would be the same", option="views", remedy=("give ", Option("views", 1)))
    assert error.message.rendered(train) == "--views is 3, but all would be the same. Give --views 1."
    assert str(error) == "views is 3, but all would be the same. Give views=1."


def test_errors_and_texts_are_said_in_the_words_of_the_command_that_ran_last(run):
    run("train", "--help")
    assert in_words(("leave out ", Option("valid_fraction"))) == "leave out --valid-fraction"
    assert in_words(ConfigError("is 2", option="margin")) == "--margin is 2"
    run("info", "--help")
    assert SHELL.spelled(Option("valid_fraction")) is None
