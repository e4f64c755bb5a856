"""Checkpoint files: what goes in comes out, damage is noticed, and a failed write costs nothing."""

import pytest
import torch
from torch import nn

from dualcoop.errors import ModelError
from dualcoop.training.checkpoints import (
    CHECKPOINT_FILE,
    optimizer_tensors,
    read_checkpoint,
    remove_checkpoint,
    restore_optimizer,
    write_checkpoint,
)

TENSORS = {
    "now.a": torch.arange(6.0).reshape(2, 3),
    "low": torch.ones(3, dtype=torch.bfloat16),
    "step": torch.tensor(7),
}
STATE = {"epochs": {"done": 2, "history": [{"loss": 0.1, "valid_map": float("inf")}]}, "run": {"seed": 0}}


@pytest.fixture
def folder(tmp_path):
    write_checkpoint(tmp_path / "run", TENSORS, STATE)
    return tmp_path / "run"


def test_a_folder_without_checkpoint_has_none(tmp_path):
    assert read_checkpoint(tmp_path / "nowhere") is None


def test_tensors_and_state_come_back_as_they_were(folder):
    tensors, state = read_checkpoint(folder)
    assert state == STATE
    assert tensors.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        assert tensors[name].dtype == value.dtype
        assert torch.equal(tensors[name], value)


def test_a_checkpoint_is_one_file(folder):
    assert [path.name for path in folder.iterdir()] == [CHECKPOINT_FILE]


def test_a_later_checkpoint_replaces_the_earlier(folder):
    write_checkpoint(folder, {"now.a": torch.zeros(1)}, {"epochs": {"done": 3}})
    tensors, state = read_checkpoint(folder)
    assert list(tensors) == ["now.a"]
    assert state == {"epochs": {"done": 3}}


def flip_last_byte(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: b"no safetensors at all",
        flip_last_byte,
        lambda data: data.replace(b'\\"seed\\": 0', b'\\"seed\\": 1'),
    ],
    ids=["cut off", "empty", "something else", "a flipped bit", "an edited state"],
)
def test_a_damaged_checkpoint_is_refused_by_name(folder, damage):
    path = folder / CHECKPOINT_FILE
    before = path.read_bytes()
    path.write_bytes(damage(before))
    assert path.read_bytes() != before
    with pytest.raises(ModelError, match=f"{CHECKPOINT_FILE}: the checkpoint is damaged .* Delete it and start"):
        read_checkpoint(folder)


def test_safetensors_of_another_kind_are_refused(folder):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, folder / CHECKPOINT_FILE)
    with pytest.raises(ModelError, match="is damaged"):
        read_checkpoint(folder)


def test_a_write_that_fails_leaves_the_checkpoint_before_it(folder, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dualcoop.files.os.fsync", full)
    with pytest.raises(ModelError, match=r"cannot be written \(No space left on device\)"):
        write_checkpoint(folder, {"now.a": torch.zeros(1)}, {})
    assert read_checkpoint(folder)[1] == STATE


def test_a_removed_checkpoint_is_gone_and_removing_none_is_fine(folder):
    remove_checkpoint(folder)
    assert read_checkpoint(folder) is None
    remove_checkpoint(folder)


OPTIMIZERS = {
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.1),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    "plain sgd": lambda p: torch.optim.SGD(p, lr=0.1),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_restored_optimizer_goes_on_as_if_nothing_had_happened(kind, tmp_path):
    def step(parameter, optimizer):
        optimizer.zero_grad()
        (parameter - torch.tensor([1.0, -2.0])).pow(2).sum().backward()
        optimizer.step()

    parameter = nn.Parameter(torch.zeros(2))
    optimizer = OPTIMIZERS[kind]([parameter])
    for _ in range(3):
        step(parameter, optimizer)
    write_checkpoint(tmp_path, optimizer_tensors(optimizer), {})
    copy = nn.Parameter(parameter.detach().clone())
    restored = OPTIMIZERS[kind]([copy])
    restore_optimizer(restored, read_checkpoint(tmp_path)[0])
    for _ in range(3):
        step(parameter, optimizer)
        step(copy, restored)
    assert torch.equal(parameter, copy)


def test_restoring_moments_leaves_the_learning_rate_alone(tmp_path):
    parameter = nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.AdamW([{"params": [parameter], "lr": 0.3, "peak": 0.5}])
    restore_optimizer(optimizer, {})
    assert (optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["peak"]) == (0.3, 0.5)
