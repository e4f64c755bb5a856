"""What is noticed of tensors that changed, and what is not taken for a change."""

import copy
import pickle

import pytest
import torch
from torch import nn

from dualcoop import tensor_marks
from dualcoop.tensor_marks import TensorMarks

EVERY_WAY = pytest.mark.parametrize("values", [0, 8, None])


@pytest.fixture
def weight():
    return torch.arange(100.0).reshape(10, 10).T


@EVERY_WAY
def test_they_fit_while_nothing_changes(weight, values):
    bias = torch.ones(10)
    marks = TensorMarks([weight, bias], values=values)
    assert marks.fit([weight, bias])
    assert not marks.fit([weight])
    assert not marks.fit([bias, weight])


@EVERY_WAY
@pytest.mark.parametrize("change", [lambda w: w[3, 3].add_(1), lambda w: w.resize_(5, 10), lambda w: w.t_()])
def test_a_change_in_place_is_seen(weight, values, change):
    marks = TensorMarks([weight], values=values)
    change(weight)
    assert not marks.fit([weight])


@EVERY_WAY
def test_another_tensor_of_the_same_shape_is_seen(weight, values):
    assert not TensorMarks([weight], values=values).fit([weight + 1])


@pytest.mark.parametrize("values", [8, None])
def test_writes_that_move_all_of_a_tensor_behind_the_counter_are_seen_by_values(weight, values):
    marks = TensorMarks([weight], values=values)
    weight.data.mul_(1.5)
    assert not marks.fit([weight])


def test_all_values_see_the_smallest_write_behind_the_counter(weight):
    marks = TensorMarks([weight], values=None)
    weight.data[7, 5] += 1
    assert not marks.fit([weight])


def test_changes_that_cancel_in_a_sum_are_seen(weight):
    marks = TensorMarks([weight], values=8)
    weight.data.copy_(weight.flip(0, 1))
    assert not marks.fit([weight])


@pytest.mark.parametrize("values", [8, None])
def test_a_fused_optimizer_is_seen_by_values(values):
    parameter = nn.Parameter(torch.ones(30))
    marks = TensorMarks([parameter], values=values)
    parameter.grad = torch.ones(30)
    torch.optim.SGD([parameter], lr=0.1, fused=True).step()
    assert not marks.fit([parameter])


def test_all_values_fit_equal_tensors_elsewhere(weight):
    marks = TensorMarks([weight], values=None)
    assert marks.fit([weight.clone()])
    assert not marks.fit([weight.double()])
    assert not marks.fit([weight.flatten()])


def test_memory_of_a_replaced_tensor_does_not_become_its_successors():
    module = nn.Linear(64, 64)
    marks = TensorMarks([module.weight])
    for _ in range(20):
        del module.weight
        module.weight = nn.Parameter(torch.empty(64, 64))
        assert not marks.fit([module.weight])


@EVERY_WAY
def test_a_change_of_a_tensor_without_a_counter_is_seen(values):
    with torch.inference_mode():
        tensor = torch.zeros(100)
        marks = TensorMarks([tensor], values=values)
        assert marks.fit([tensor])
        tensor[77] = 1
        assert not marks.fit([tensor])


@pytest.mark.parametrize("values", [0, 8])
def test_without_torchs_counter_all_values_are_compared(weight, values, monkeypatch):
    monkeypatch.setattr(tensor_marks, "version", lambda tensor: None)
    marks = TensorMarks([weight], values=values)
    assert marks.fit([weight])
    weight[7, 5] += 1
    assert not marks.fit([weight])


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda marks: pickle.loads(pickle.dumps(marks))])
def test_copies_of_marks_fit_nothing_unless_they_go_by_all_values(weight, duplicate):
    assert not duplicate(TensorMarks([weight])).fit([weight])
    assert not duplicate(TensorMarks([weight], values=8)).fit([weight])
    assert duplicate(TensorMarks([weight], values=None)).fit([weight])


@EVERY_WAY
def test_empty_tensors_and_none_at_all_have_marks(values):
    assert TensorMarks([], values=values).fit([])
    assert TensorMarks([torch.zeros(0)], values=values).fit([]) is False
