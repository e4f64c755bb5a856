"""Checkpoints of a run: one safetensors file with its state as JSON inside, replaced as a whole."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from dualcoop.errors import ModelError, Option
from dualcoop.files import write_file

CHECKPOINT_FILE = "checkpoint.safetensors"


def write_checkpoint(folder: Path, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Write a checkpoint; a kill at any moment leaves the old one or the new one.

    Of the tensors none shares memory with another; the state is of JSON values. The folder is made when absent.

    Raises:
        ModelError: when it cannot be written.
    """
    contents = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    text = json.dumps(state)
    data = to_bytes(contents, metadata={"state": text, "sha256": _checksum(contents, text)})
    path = folder / CHECKPOINT_FILE
    try:
        write_file(path, data)
    except OSError as error:
        what = f"the checkpoint cannot be written ({error.strerror or error}); the one before it is intact"
        remedy = ("make room or choose another ", Option("output_dir"))
        raise ModelError(what, where=str(path), remedy=remedy) from error


def read_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors (on the CPU) and state of the checkpoint in `folder`, None when there is none.

    Raises:
        ModelError: when it is damaged.
    """
    path = folder / CHECKPOINT_FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if _checksum(tensors, metadata["state"]) != metadata["sha256"]:
            raise ValueError("its content is not what was written")
        return tensors, json.loads(metadata["state"])
    except (SafetensorError, KeyError, TypeError, ValueError, OSError) as error:
        what = f"the checkpoint is damaged ({error})"
        raise ModelError(what, where=str(path), remedy="delete it and start the run again") from error


def remove_checkpoint(folder: Path) -> None:
    """Forget an earlier run, so that this one is never resumed from it."""
    (folder / CHECKPOINT_FILE).unlink(missing_ok=True)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's moments and step counts by parameter number."""
    tensors = {}
    for index, values in optimizer.state_dict()["state"].items():
        for name, value in values.items():
            if value is not None:
                tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value)
    return tensors


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """The reverse of `optimizer_tensors`; the options stay as they are."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, entry = name.split(".", 2)
            state.setdefault(int(index), {})[entry] = value
    content = optimizer.state_dict()
    content["state"] = state
    optimizer.load_state_dict(content)


def _checksum(tensors: dict[str, Tensor], state: str) -> str:
    digest = hashlib.sha256(state.encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
