import json
from dataclasses import fields

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from dualcoop.cli import train_setup
from dualcoop.cli.app import load_command
from dualcoop.cli.option_groups import FieldsOf
from dualcoop.cli.train_options import HoldOutOptions
from dualcoop.cli.training_display import TrainingDisplay
from dualcoop.data import load_dataset
from dualcoop.methods.dualcoop import DualCoOp
from dualcoop.prompts import PromptConfig
from dualcoop.training import Trainer, TrainingArguments
from dualcoop.training.checkpoints import CHECKPOINT_FILE, write_checkpoint


def record(folder):
    return json.loads((folder / "run.json").read_text())


def assert_equal_tensors(*folders):
    first, second = (load_file(folder / "model.safetensors") for folder in folders)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def parameters(command):
    return {parameter.name: parameter for parameter in load_command(command).params}


@pytest.mark.parametrize("kind", [TrainingArguments, PromptConfig])
def test_options_have_the_names_and_defaults_of_the_library(kind):
    offered = parameters("train")
    assert FieldsOf(kind).offered()
    for name in FieldsOf(kind).offered():
        default = getattr(kind, name)
        assert offered[name].default == (list(default) if isinstance(default, tuple) else default)


def test_every_training_argument_can_be_given():
    in_python_alone = {"warmup_learning_rate"}
    assert {field.name for field in fields(TrainingArguments)} - set(parameters("train")) == in_python_alone


def test_training_writes_a_model_and_everything_about_the_run(run, table, photos, tmp_path):
    result = run("train", table, "--images", photos, "--output", tmp_path / "out", "--epochs", 2)
    assert result.exit_code == 0, result.output
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"config.json", "model.safetensors", "run.json", "history.csv", "curves.png"} <= written
    assert DualCoOp.from_pretrained(tmp_path / "out").classes == ("beach", "dog", "kite")


def test_data_are_summed_up_and_metrics_come_with_protocols(run, table, photos, tmp_path):
    result = run("train", table, "--images", photos, "--output", tmp_path / "out", "--epochs", 1)
    assert "1 of the training images was held out" in result.stdout
    assert "classes without positives skipped" in " ".join(result.stdout.split())
    assert "epoch 1/1: loss" in result.stderr
    command = f"dualcoop evaluate {tmp_path / 'out'} {table} --images {photos}"
    assert f"the test part is still unseen: {command}\n" in result.stderr


def test_options_reach_the_trainer(run, table, photos, tmp_path):
    options = ("--epochs", 3, "--optimizer", "sgd", "--learning-rate", 0.01, "--batch-size", 4, "--seed", 5)
    prompts = ("--shared", "--positive-init", "random", "--positive-tokens", 3, "--mode", "positive")
    result = run("train", table, "--images", photos, "-o", tmp_path / "out", *options, *prompts)
    assert result.exit_code == 0, result.output
    written = record(tmp_path / "out")
    expected = {"epochs": 3, "optimizer": "sgd", "learning_rate": 0.01, "batch_size": 4, "seed": 5}
    assert {name: written["arguments"][name] for name in expected} == expected
    expected = {"class_specific": False, "positive_init": None, "positive_tokens": 3, "mode": "positive", "seed": 5}
    assert {name: written["prompts"][name] for name in expected} == expected


def test_result_is_that_of_the_library(run, table, photos, tmp_path):
    run("train", table, "--images", photos, "-o", tmp_path / "out", "--epochs", 2, "--valid-fraction", 0)
    data = load_dataset(table, images=photos)
    model = DualCoOp.from_pretrained("lite", data.classes)
    Trainer(model, TrainingArguments(epochs=2), train=data.train).train()
    saved = DualCoOp.from_pretrained(tmp_path / "out")
    np.testing.assert_array_equal(saved.predict_proba(photos / "1.png"), model.predict_proba(photos / "1.png"))


def test_published_recipe_is_the_papers_and_can_be_changed(run, table, photos, tmp_path):
    options = ("--recipe", "published", "--epochs", 1, "--positive-tokens", 2)
    result = run("train", table, "--images", photos, "-o", tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    written = record(tmp_path / "out")
    assert written["arguments"]["reduction"] == "published"
    assert written["arguments"]["views"] == 0
    assert written["arguments"]["epochs"] == 1
    assert written["prompts"]["positive_tokens"] == 2
    assert written["prompts"]["negative_tokens"] == 16


def test_known_fraction_hides_labels_and_saves_the_mask(run, table, photos, tmp_path):
    options = ("--known-fraction", 0.6, "--mask-seed", 3, "--epochs", 1, "--valid-fraction", 0)
    result = run("train", table, "--images", photos, "-o", tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    written = record(tmp_path / "out")
    assert written["label_mask"]["known_fraction"] == 0.6
    assert written["data"]["train"]["known_labels"] < 18
    assert (tmp_path / "out" / "label_mask.npz").exists()
    assert "hidden" in result.stdout


def test_labels_of_the_validation_part_are_hidden_too(table, photos):
    data = load_dataset(table, images=photos)
    hold_out = HoldOutOptions(known_fraction=0.5, valid_fraction=0.5)
    shown, mask = train_setup.with_hidden_labels(train_setup.with_valid_part(data, hold_out), hold_out)
    assert (len(shown.train), len(shown.valid)) == (3, 3)
    assert mask.keep.shape == (3, 3)
    assert not shown.valid.known.all()
    assert shown.test.known.all()


def test_a_run_is_repeated_from_its_record(run, table, photos, tmp_path):
    options = ("--epochs", 2, "--known-fraction", 0.7, "--mask-seed", 2, "--learning-rate", 0.01, "--shared")
    first = run("train", table, "--images", photos, "-o", tmp_path / "first", *options)
    assert first.exit_code == 0, first.output
    second = run("train", "--from-run", tmp_path / "first" / "run.json", "-o", tmp_path / "second")
    assert second.exit_code == 0, second.output
    assert "warning" not in second.stderr
    assert_equal_tensors(tmp_path / "first", tmp_path / "second")


def test_a_record_in_which_options_have_earlier_names_is_repeated(run, table, photos, tmp_path):
    options = ("--epochs", 1, "--shared", "--data-format", "table", "--reduction", "published", "--no-cache")
    run("train", table, "--images", photos, "-o", tmp_path / "first", *options)
    content = record(tmp_path / "first")
    given = content["source"]["options"]
    given |= {"loss": given.pop("reduction"), "shared": not given.pop("class_specific")}
    given |= {"data_format": given.pop("format"), "cache": given.pop("cache_dir")}
    (tmp_path / "earlier.json").write_text(json.dumps(content))
    result = run("train", "--from-run", tmp_path / "earlier.json", "-o", tmp_path / "second")
    assert result.exit_code == 0, result.output
    second = record(tmp_path / "second")
    assert (second["arguments"]["loss"], second["arguments"]["reduction"]) == ("asymmetric", "published")
    assert second["source"]["options"]["format"] == "table"
    assert_equal_tensors(tmp_path / "first", tmp_path / "second")


def test_a_published_run_is_repeated_without_naming_the_recipe(run, table, photos, tmp_path):
    options = ("--recipe", "published", "--epochs", 1)
    run("train", table, "--images", photos, "-o", tmp_path / "first", *options)
    run("train", "--from-run", tmp_path / "first" / "run.json", "-o", tmp_path / "second")
    first, second = (record(tmp_path / name) for name in ("first", "second"))
    ignored = {"output_dir"}
    assert {k: v for k, v in first["arguments"].items() if k not in ignored} == {
        k: v for k, v in second["arguments"].items() if k not in ignored
    }
    assert first["prompts"] == second["prompts"]


def test_options_change_a_repeated_run(run, table, photos, tmp_path, trained):
    result = run("train", "--from-run", trained / "run.json", "-o", tmp_path / "again", "--epochs", 2)
    assert result.exit_code == 0, result.output
    assert record(tmp_path / "again")["arguments"]["epochs"] == 2


def test_a_repeated_run_on_changed_data_warns(run, table, photos, tmp_path, trained):
    table.write_text(table.read_text().replace("1.png,beach", "1.png,kite").replace("dog;kite", "dog;beach", 1))
    result = run("train", table, "--images", photos, "--from-run", trained / "run.json", "-o", tmp_path / "again")
    assert result.exit_code == 0, result.output
    assert "are not those of" in result.stderr.replace("\n", " ")


def test_an_interrupted_run_resumes_to_the_same_result(run, table, photos, tmp_path, monkeypatch):
    command = ("train", table, "--images", photos, "--epochs", 4)
    run(*command, "-o", tmp_path / "whole")
    original = TrainingDisplay.epoch

    def stop_after_two(self, row):
        original(self, row)
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(TrainingDisplay, "epoch", stop_after_two)
        stopped = run(*command, "-o", tmp_path / "parts")
    assert stopped.exit_code == 130
    assert "--resume" in stopped.stderr
    assert run(*command, "-o", tmp_path / "parts", "--resume").exit_code == 0
    assert_equal_tensors(tmp_path / "whole", tmp_path / "parts")


def test_an_interrupted_run_is_not_lost_by_mistake(run, table, photos, tmp_path):
    write_checkpoint(tmp_path / "out", {"context": torch.zeros(1)}, {})
    before = (tmp_path / "out" / CHECKPOINT_FILE).read_bytes()
    command = ("train", table, "--images", photos, "-o", tmp_path / "out", "--epochs", 1)
    refused = run(*command)
    assert refused.exit_code == 1
    assert "an interrupted run is in this folder. Go on with --resume" in refused.stderr.replace("\n", " ")
    assert (tmp_path / "out" / CHECKPOINT_FILE).read_bytes() == before
    assert run(*command, "--overwrite").exit_code == 0
    assert (tmp_path / "out" / CHECKPOINT_FILE).read_bytes() != before


def test_problems_in_the_table_are_listed_and_the_rest_is_trained_on(run, table, photos, tmp_path):
    with table.open("a") as stream:
        stream.write("missing.png,dog,,train\n")
    result = run("train", table, "--images", photos, "-o", tmp_path / "out", "--epochs", 1)
    assert result.exit_code == 0, result.output
    assert "1 problem with the labels and images; what cannot be used was left out:" in result.stderr
    assert "row 10 (missing.png)" in result.stderr.replace("\n", " ")
    assert ".problems" not in result.stderr
    assert "give the folder that the names start from with --images" in result.stderr.replace("\n", " ")
    strict = run("train", table, "--images", photos, "-o", tmp_path / "strict", "--epochs", 1, "--strict")
    assert strict.exit_code == 1
    assert not (tmp_path / "strict").exists()


def test_a_table_with_its_own_validation_part_keeps_it(run, table, photos, tmp_path):
    table.write_text(table.read_text().replace("5.png,kite,dog;beach,train", "5.png,kite,dog;beach,valid"))
    command = ("train", table, "--images", photos, "-o", tmp_path / "out", "--epochs", 1)
    refused = run(*command, "--valid-fraction", 0.3)
    assert refused.exit_code == 1
    assert "a valid part of their own" in refused.stderr.replace("\n", " ")
    assert run(*command).exit_code == 0
    assert record(tmp_path / "out")["data"]["valid"]["images"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--output", "x"), "train needs a label table"),
        (("TABLE",), "train needs --output DIR"),
        (("nowhere.csv", "-o", "x"), "nowhere.csv: the file or folder is missing"),
        (("TABLE", "-o", "TABLE"), "this is a file"),
        (("TABLE", "-o", "x", "--images", "nowhere"), "--images is 'nowhere', which is no folder"),
        (("TABLE", "-o", "x", "--resume", "--overwrite"), "Choose one"),
        (("TABLE", "-o", "x", "--from-run", "nowhere.json"), "nowhere.json: the record of a run cannot be read"),
        (("TABLE", "-o", "x", "--from-run", "TABLE"), "this is no record of a run"),
        (("TABLE", "-o", "x", "--images", "PHOTOS", "--select", "best", "--valid-fraction", "0"), "--select"),
        (("TABLE", "-o", "x", "--images", "PHOTOS", "--known-fraction", "1.5"), "--known-fraction is 1.5"),
        (("TABLE", "-o", "x", "--images", "PHOTOS", "--learning-rate", "-1"), "--learning-rate is -1"),
        (
            ("TABLE", "-o", "x", "--images", "PHOTOS", "--views", "3"),
            "Give --augmentation crop, --augmentation published or",
        ),
    ],
)
def test_bad_input_is_said_in_one_message(run, table, photos, arguments, message):
    places = {"TABLE": table, "PHOTOS": photos}
    result = run("train", *(places.get(argument, argument) for argument in arguments))
    assert result.exit_code == 1
    assert message in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.stderr


def test_a_model_is_not_lost_by_mistake(run, table, photos, trained):
    before = (trained / "model.safetensors").read_bytes()
    command = ("train", table, "--images", photos, "-o", trained, "--epochs", 2)
    result = run(*command)
    assert result.exit_code == 1
    assert "there is a model in this folder" in result.stderr.replace("\n", " ")
    assert (trained / "model.safetensors").read_bytes() == before
    assert run(*command, "--overwrite").exit_code == 0
    assert (trained / "model.safetensors").read_bytes() != before


def test_a_record_of_a_run_in_python_does_not_say_where_its_data_are(run, table, photos, tmp_path):
    data = load_dataset(table, images=photos)
    model = DualCoOp.from_pretrained("lite", data.classes)
    Trainer(model, TrainingArguments(epochs=1, output_dir=tmp_path / "python"), train=data.train).train()
    result = run("train", "--from-run", tmp_path / "python" / "run.json", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "was not started by `dualcoop train`" in result.stderr.replace("\n", " ")


def test_broken_images_are_found_before_training_when_asked(run, table, photos, tmp_path):
    (photos / "1.png").write_bytes(b"\x89PNG broken")
    command = ("train", table, "--images", photos, "--epochs", 1, "--check-images")
    result = run(*command, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "row 3 (1.png)" in result.stderr
    assert record(tmp_path / "out")["left_out"] == []
