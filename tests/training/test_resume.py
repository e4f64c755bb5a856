"""A run that was killed and resumed ends bit for bit as one that was not."""

import json

import pytest
import torch

from coloured import make_model, with_unreadable
from dualcoop import DualCoOp, PromptConfig, Trainer
from dualcoop.errors import ModelError
from dualcoop.training import Callback, TrainingArguments
from dualcoop.training.checkpoints import CHECKPOINT_FILE, read_checkpoint
from tiny import TinyBackbone


class Killed(BaseException):
    pass


class Killer(Callback):
    """Kills the run when this epoch is over."""

    def __init__(self, epoch):
        self.last = epoch

    def epoch(self, row):
        if row["epoch"] == self.last:
            raise Killed


OPTIONS = {
    "adamw": {},
    "sgd": {"optimizer": "sgd", "learning_rate": 0.02, "weight_decay": 5e-4},
    "views": {"views": 3, "augmentation": "published"},
    "class sample": {"class_sample": 2, "optimizer": "sgd"},
    "anew": {"views": 0, "augmentation": "published"},
    "anchor": {"anchor": 3.0, "learning_rate": 0.05},
    "best": {"select": "best"},
    "low precision": {"precision": "bfloat16"},
    "plain sgd": {"optimizer": "sgd", "momentum": 0.0},
    "int8": {"feature_precision": "int8"},
}


def arguments(folder, **options):
    return TrainingArguments(**{"epochs": 5, "batch_size": 4, "output_dir": folder, **options})


def without_seconds(history):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in history]


def assert_same_outcome(first_folder, second_folder, first, second):
    """Contexts, thresholds, history and the optimizer's moments, as the folders and results have them."""
    assert without_seconds(first.history) == without_seconds(second.history)
    assert first.epoch == second.epoch
    models = [DualCoOp.from_pretrained(f, backbone=TinyBackbone()) for f in (first_folder, second_folder)]
    for (name, value), (_, other) in zip(*(model.named_parameters() for model in models), strict=True):
        assert torch.equal(value, other), name
    assert torch.equal(models[0].thresholds, models[1].thresholds)
    tensors, others = (read_checkpoint(folder)[0] for folder in (first_folder, second_folder))
    assert tensors.keys() == others.keys()
    for name, value in tensors.items():
        assert torch.equal(value, others[name]), name


def kill(folder, epoch, train_data, valid_data, **options):
    with pytest.raises(Killed):
        Trainer(
            make_model(),
            arguments(folder, **options),
            train=train_data,
            valid=valid_data,
            callbacks=[Killer(epoch)],
        ).train()


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_a_killed_run_ends_as_an_uninterrupted_one(train_data, valid_data, tmp_path, options):
    whole = Trainer(make_model(), arguments(tmp_path / "whole", **options), train=train_data, valid=valid_data).train()
    kill(tmp_path / "parts", 2, train_data, valid_data, **options)
    torch.manual_seed(4321)
    resumed = Trainer(
        make_model(),
        arguments(tmp_path / "parts", resume=True, **options),
        train=train_data,
        valid=valid_data,
    ).train()
    assert_same_outcome(tmp_path / "whole", tmp_path / "parts", whole, resumed)
    run = json.loads((tmp_path / "parts" / "run.json").read_text())
    assert run["resumed_after_epoch"] == 2
    assert len(run["history"]) == 5


def test_a_killed_run_with_a_cache_ends_as_an_uninterrupted_one_without(train_data, valid_data, tmp_path):
    whole = Trainer(make_model(), arguments(tmp_path / "whole"), train=train_data, valid=valid_data).train()
    kill(tmp_path / "parts", 2, train_data, valid_data, cache_dir=tmp_path / "cache")
    resumed = Trainer(
        make_model(),
        arguments(tmp_path / "parts", resume=True, cache_dir=tmp_path / "cache"),
        train=train_data,
        valid=valid_data,
    ).train()
    assert_same_outcome(tmp_path / "whole", tmp_path / "parts", whole, resumed)


def test_several_kills_between_sparse_checkpoints_repeat_what_was_lost(train_data, valid_data, tmp_path):
    whole = Trainer(make_model(), arguments(tmp_path / "whole"), train=train_data, valid=valid_data).train()
    sparse = {"checkpoint_every": 2}
    kill(tmp_path / "parts", 1, train_data, valid_data, **sparse)
    assert read_checkpoint(tmp_path / "parts") is None
    kill(tmp_path / "parts", 3, train_data, valid_data, **sparse, resume=True)
    assert read_checkpoint(tmp_path / "parts")[1]["epochs"]["done"] == 2
    kill(tmp_path / "parts", 4, train_data, valid_data, **sparse, resume=True)
    resumed = Trainer(
        make_model(),
        arguments(tmp_path / "parts", resume=True, **sparse),
        train=train_data,
        valid=valid_data,
    ).train()
    assert_same_outcome(tmp_path / "whole", tmp_path / "parts", whole, resumed)


def test_a_kill_during_a_step_leaves_the_last_checkpoint_whole(train_data, valid_data, tmp_path, monkeypatch):
    whole = Trainer(make_model(), arguments(tmp_path / "whole"), train=train_data, valid=valid_data).train()
    steps = iter(range(100))
    step = torch.optim.AdamW.step

    def killing(self, *args, **options):
        if next(steps) == 9:
            raise Killed
        return step(self, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", killing)
        with pytest.raises(Killed):
            Trainer(make_model(), arguments(tmp_path / "parts"), train=train_data, valid=valid_data).train()
    resumed = Trainer(
        make_model(), arguments(tmp_path / "parts", resume=True), train=train_data, valid=valid_data
    ).train()
    assert_same_outcome(tmp_path / "whole", tmp_path / "parts", whole, resumed)


def test_resuming_a_finished_run_trains_no_further(train_data, valid_data, tmp_path):
    first = Trainer(make_model(), arguments(tmp_path), train=train_data, valid=valid_data).train()
    model = make_model()
    again = Trainer(model, arguments(tmp_path, resume=True), train=train_data, valid=valid_data).train()
    assert again.history == first.history
    loaded = DualCoOp.from_pretrained(tmp_path, backbone=TinyBackbone())
    assert torch.equal(loaded.prompts.positive_context, model.prompts.positive_context)


def test_a_run_that_patience_ended_stays_ended(train_data, valid_data, tmp_path, monkeypatch):
    monkeypatch.setattr("dualcoop.training.validation.mean_average_precision", lambda scores, labels: 50.0)
    options = {"select": "best", "patience": 2, "epochs": 9}
    first = Trainer(make_model(), arguments(tmp_path, **options), train=train_data, valid=valid_data).train()
    assert (first.epoch, len(first.history)) == (1, 3)
    again = Trainer(
        make_model(), arguments(tmp_path, resume=True, **options), train=train_data, valid=valid_data
    ).train()
    assert (again.epoch, again.history) == (1, first.history)


def test_resuming_where_nothing_was_begun_begins(train_data, tmp_path):
    result = Trainer(make_model(), arguments(tmp_path, resume=True), train=train_data).train()
    assert len(result.history) == 5


def test_a_run_that_is_not_resumed_starts_from_the_beginning(train_data, valid_data, tmp_path):
    kill(tmp_path, 2, train_data, valid_data)
    kill(tmp_path, 1, train_data, valid_data, checkpoint_every=5)
    # The first run's checkpoint is gone, so the second cannot be resumed from it by mistake.
    assert read_checkpoint(tmp_path) is None


@pytest.mark.parametrize("difference", ["options", "labels", "prompts", "backbone", "valid"])
def test_a_checkpoint_of_another_run_is_refused_and_kept(train_data, valid_data, tmp_path, difference):
    kill(tmp_path, 2, train_data, valid_data)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    data, model, options = {"train": train_data, "valid": valid_data}, make_model(), {}
    if difference == "options":
        options = {"seed": 1}
    elif difference == "labels":
        data["train"] = valid_data
    elif difference == "prompts":
        model = make_model(prompts=PromptConfig(positive_tokens=5))
    elif difference == "backbone":
        model = DualCoOp(TinyBackbone(seed=1), model.classes, model.prompts.config)
    else:
        data["valid"] = None
    with pytest.raises(ModelError, match="belongs to a run with other data, classes, backbone or options"):
        Trainer(model, arguments(tmp_path, resume=True, **options), **data).train()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_damaged_checkpoint_is_refused(train_data, valid_data, tmp_path):
    kill(tmp_path, 2, train_data, valid_data)
    path = tmp_path / CHECKPOINT_FILE
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ModelError, match="is damaged"):
        Trainer(make_model(), arguments(tmp_path, resume=True), train=train_data, valid=valid_data).train()


def test_images_left_out_are_reported_by_the_resumed_run_too(train_data, tmp_path):
    data = with_unreadable(train_data, tmp_path / "broken", 3)
    with pytest.raises(Killed):
        Trainer(make_model(), arguments(tmp_path / "run"), train=data, callbacks=[Killer(2)]).train()
    result = Trainer(make_model(), arguments(tmp_path / "run", resume=True), train=data).train()
    assert [problem.path for problem in result.problems] == [str(tmp_path / "broken" / "broken-3.png")]
