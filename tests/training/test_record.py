"""The record of a run: what it says, what identifies a run, and what goes into the saved model."""

import json

import numpy as np
import pytest

from coloured import CLASSES, make_model
from dualcoop.data.masks import LabelMask, partial_label_mask
from dualcoop.data.problems import Problem
from dualcoop.errors import ConfigError
from dualcoop.evaluation import evaluate
from dualcoop.training import TrainingArguments, TrainingResult
from dualcoop.training.record import RunRecord


@pytest.fixture
def make_record(train_data, valid_data, tmp_path):
    def make(model=None, train=train_data, valid=valid_data, mask=None, source=None, **options):
        arguments = TrainingArguments(**{"output_dir": tmp_path / "run", **options})
        return RunRecord(arguments, model or make_model(), train, valid, mask, source)

    return make


@pytest.fixture
def report():
    return evaluate(np.array([[0.9, 0.2, 0.4]]), np.array([[1, -1, 1]]), CLASSES)


@pytest.fixture
def run_file(tmp_path):
    return tmp_path / "run" / "run.json"


def test_the_record_stands_before_anything_is_computed(make_record, run_file, train_data):
    make_record(source={"table": "labels.csv"}, seed=4).start(0)
    run = json.loads(run_file.read_text())
    assert run["format"] == "dualcoop run"
    assert run["arguments"]["seed"] == 4
    assert run["prompts"]["kind"] == "learned"
    assert run["model"]["backbone"] == "tiny"
    assert run["model"]["backbone_fingerprint"] == make_model().backbone_fingerprint()
    assert run["data"]["train"] == {
        "images": 14,
        "classes": 3,
        "known_labels": int((train_data.labels != 0).sum()),
        "present_labels": int((train_data.labels > 0).sum()),
        "fingerprint": train_data.fingerprint(),
    }
    assert set(run["data"]) == {"train", "valid"}
    assert run["source"] == {"table": "labels.csv"}
    assert run["label_mask"] is None
    assert "torch" in run["versions"]
    assert run["started"].endswith("+00:00")
    assert run["resumed_after_epoch"] is None


def test_a_resumed_run_says_so(make_record, run_file):
    make_record().start(3)
    assert json.loads(run_file.read_text())["resumed_after_epoch"] == 3


def test_the_mask_is_described_and_saved_beside(make_record, valid_data, tmp_path, run_file):
    mask = partial_label_mask(valid_data, 0.5, seed=9)
    make_record(train=mask.apply(valid_data), mask=mask).start(0)
    assert json.loads(run_file.read_text())["label_mask"] == {
        "known_fraction": 0.5,
        "seed": 9,
        "data_fingerprint": valid_data.fingerprint(),
        "file": "label_mask.npz",
    }
    saved = LabelMask.load(tmp_path / "run" / "label_mask.npz")
    assert (saved.keep == mask.keep).all()


def test_images_left_out_are_listed(make_record, run_file):
    record = make_record()
    record.start(0)
    record.leave_out([Problem("", None, "a.jpg", "the file is missing", "It was left out")])
    assert json.loads(run_file.read_text())["left_out"] == ["a.jpg: the file is missing. It was left out."]


def test_a_folder_that_cannot_be_made_is_refused(make_record, tmp_path):
    (tmp_path / "run").write_text("in the way")
    with pytest.raises(ConfigError, match=r"output_dir is .*run, where nothing can be written .* Give another folder"):
        make_record().start(0)


@pytest.mark.parametrize(
    ("options", "same"),
    [
        ({"output_dir": "elsewhere"}, True),
        ({"resume": True}, True),
        ({"checkpoint_every": 7}, True),
        ({"strict": True}, True),
        ({"seed": 1}, False),
        ({"epochs": 99}, False),
        ({"learning_rate": 1e-3}, False),
        ({"select": "best"}, False),
        ({"precision": "bfloat16"}, False),
    ],
)
def test_what_must_agree_for_a_run_to_be_resumed(make_record, options, same):
    assert (make_record(**options).identity() == make_record().identity()) is same


def test_other_labels_classes_or_backbones_are_another_run(make_record, train_data):
    own = make_record().identity()
    changed = train_data.labels.copy()
    changed[0, 0] *= -1
    assert make_record(train=train_data.with_labels(changed)).identity() != own
    assert make_record(valid=None).identity() != own
    assert make_record(make_model(image_size=64)).identity() != own
    assert make_record(make_model(logit_bias=-1)).identity() != own


def test_the_identity_survives_json(make_record):
    identity = make_record(loss_weight=0.1).identity()
    assert json.loads(json.dumps(identity)) == identity


def test_the_finished_record_has_the_outcome_and_undefined_values_are_null(make_record, run_file, report):
    record = make_record()
    record.start(0)
    row = {"epoch": 1, "learning_rate": 0.1, "loss": 0.5, "seconds": 1.0, "valid_map": float("nan")}
    record.end(TrainingResult((row,), 1, 12.3456, validation=report))
    run = json.loads(run_file.read_text(), parse_constant=pytest.fail)
    assert (run["chosen_epoch"], run["seconds"]) == (1, 12.346)
    assert run["history"] == [{**row, "valid_map": None}]
    assert run["metrics"] == {"validation": report.to_dict()}


def test_the_model_takes_what_others_may_see(make_record, tmp_path, monkeypatch, report):
    monkeypatch.setattr("sys.argv", ["train", "/home/someone/secret"])
    model = make_model()
    record = make_record(model, source={"table": "/home/someone/labels.csv"})
    record.start(0)
    record.leave_out([Problem("", None, "/home/someone/broken.jpg", "cut off", "Left out")])
    record.end(TrainingResult((), 0, 1.0, validation=report))
    training = model.training_record["training"]
    assert training["arguments"]["epochs"] == TrainingArguments().epochs
    assert training["data"]["train"]["images"] == 14
    assert training["images_left_out"] == 1
    assert {"started", "seconds", "versions", "machine", "label_mask", "chosen_epoch"} <= set(training)
    assert model.training_record["metrics"] == {"validation": report.to_dict()}
    run = (tmp_path / "run" / "run.json").read_text()
    assert "/home/someone/secret" in run
    for name in ("config.json", "README.md"):
        text = (tmp_path / "run" / name).read_text()
        assert "someone" not in text
        assert str(tmp_path) not in text


def test_without_a_folder_the_record_goes_to_the_model_alone(make_record, tmp_path):
    model = make_model()
    record = make_record(model, output_dir=None)
    record.start(0)
    record.leave_out([])
    record.end(TrainingResult((), 0, 1.0))
    assert model.training_record["training"]["chosen_epoch"] == 0
    assert list(tmp_path.iterdir()) == []
