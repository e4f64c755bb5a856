"""Which epoch is chosen, when a run is over, and what a checkpoint brings back."""

import pytest
import torch
from torch import nn

from coloured import make_model
from dualcoop.errors import ModelError
from dualcoop.training import TrainingArguments
from dualcoop.training.anchor import Anchor
from dualcoop.training.checkpoints import read_checkpoint, write_checkpoint
from dualcoop.training.run import Epochs, Run


@pytest.mark.parametrize(
    ("select", "maps", "chosen"),
    [
        ("last", [30.0, 50.0, 10.0], 3),
        ("last", [float("nan"), 50.0, float("nan")], 3),
        ("best", [30.0, 50.0, 10.0], 2),
        ("best", [50.0, 50.0, 50.0], 1),
        ("best", [10.0, 20.0, 30.0], 3),
    ],
)
def test_the_chosen_epoch(select, maps, chosen):
    epochs = Epochs()
    better = [epochs.add({"valid_map": value}, select) for value in maps]
    assert epochs.chosen == chosen
    assert len(better) - better[::-1].index(True) == chosen
    assert (epochs.done, len(epochs.history)) == (3, 3)


def test_the_last_epoch_is_chosen_without_validation():
    epochs = Epochs()
    assert epochs.add({"loss": 1.0}, "last")
    assert epochs.best is None


@pytest.mark.parametrize(
    ("maps", "over"),
    [([10.0], False), ([10.0, 9.0], False), ([10.0, 9.0, 10.0], True), ([10.0, 9.0, 11.0, 1.0], False)],
)
def test_patience_counts_epochs_without_a_better_one(maps, over):
    arguments = TrainingArguments(epochs=10, select="best", patience=2)
    epochs = Epochs()
    for value in maps:
        epochs.add({"valid_map": value}, "best")
    assert epochs.are_over(arguments) is over


def test_a_run_is_over_after_its_epochs_or_at_once_without_any():
    assert Epochs().are_over(TrainingArguments(epochs=0))
    assert not Epochs(done=2).are_over(TrainingArguments(epochs=3))
    assert Epochs(done=3).are_over(TrainingArguments(epochs=3))


@pytest.mark.parametrize(("done", "due"), [(1, False), (3, True), (4, False), (7, True)])
def test_checkpoints_are_due_every_so_often_and_at_the_end(done, due):
    run = Run(TrainingArguments(epochs=7, checkpoint_every=3), {"prompts.a": nn.Parameter(torch.zeros(1))}, None)
    run.epochs.done = done
    assert run.checkpoint_is_due() is due


IDENTITY = {"arguments": {"seed": 0, "loss": "asymmetric", "reduction": "published"}}


@pytest.fixture
def make_run():
    def make():
        model = make_model()
        arguments = TrainingArguments(epochs=5, select="best", anchor=2.0)
        learnable = {f"prompts.{name}": value for name, value in model.prompts.named_parameters()}
        return Run(arguments, learnable, Anchor(model, 2.0))

    return make


def move(run, by):
    """Gradients and a step, so that parameters and moments are no longer as made."""
    for parameter in run.learnable.values():
        parameter.grad = torch.full_like(parameter, by)
    run.optimizer.step()


def test_a_resumed_run_has_everything_that_was_saved(make_run, tmp_path):
    run = make_run()
    for value, by in ((40.0, 1.0), (30.0, -2.0)):
        move(run, by)
        run.add({"valid_map": value})
    run.save(tmp_path, IDENTITY)
    resumed = make_run()
    resumed.resume(tmp_path, IDENTITY)
    assert resumed.epochs == run.epochs
    assert (resumed.epochs.done, resumed.epochs.chosen, resumed.epochs.best) == (2, 1, 40.0)
    for name, parameter in run.learnable.items():
        assert torch.equal(resumed.learnable[name], parameter)
        assert torch.equal(resumed.chosen[name], run.chosen[name])
        assert not torch.equal(run.chosen[name], parameter)
    move(run, 0.5)
    move(resumed, 0.5)
    for name, parameter in run.learnable.items():
        assert torch.equal(resumed.learnable[name], parameter)


def test_a_checkpoint_in_which_the_loss_names_the_reduction_is_resumed(make_run, tmp_path):
    make_run().save(tmp_path, {"arguments": {"seed": 0, "loss": "published"}})
    make_run().resume(tmp_path, IDENTITY)
    with pytest.raises(ModelError, match="belongs to a run"):
        make_run().resume(tmp_path, {"arguments": {**IDENTITY["arguments"], "reduction": "normalised"}})


def test_without_a_checkpoint_a_run_starts_anew(make_run, tmp_path):
    run = make_run()
    run.resume(tmp_path, IDENTITY)
    assert run.epochs == Epochs()


def test_a_checkpoint_of_another_run_is_refused_and_nothing_taken_over(make_run, tmp_path):
    run = make_run()
    move(run, 1.0)
    run.save(tmp_path, IDENTITY)
    other = make_run()
    before = {name: value.detach().clone() for name, value in other.learnable.items()}
    with pytest.raises(ModelError, match="belongs to a run with other data, classes, backbone or options"):
        other.resume(tmp_path, {"arguments": {**IDENTITY["arguments"], "seed": 1}})
    assert all(torch.equal(before[name], value) for name, value in other.learnable.items())


def without(name):
    return lambda tensors, state: tensors.pop(name)


@pytest.mark.parametrize(
    "change",
    [
        without("now.prompts.positive_context"),
        without("chosen.prompts.negative_context"),
        without("anchor.1"),
        lambda tensors, state: tensors.update({"now.prompts.positive_context": torch.zeros(9, 9)}),
        lambda tensors, state: state["epochs"].update(unheard_of=1),
        lambda tensors, state: state.pop("epochs"),
    ],
)
def test_a_checkpoint_with_other_contents_is_refused(make_run, tmp_path, change):
    run = make_run()
    run.save(tmp_path, IDENTITY)
    tensors, state = read_checkpoint(tmp_path)
    change(tensors, state)
    write_checkpoint(tmp_path, tensors, state)
    with pytest.raises(ModelError, match="does not have what this version of dualcoop needs"):
        make_run().resume(tmp_path, IDENTITY)
