"""Checkpoints of a run as safetensors and JSON, written atomically."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from dualcoop.errors import ModelError

TENSORS = "checkpoint.safetensors"


def write_checkpoint(folder: Path, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Write both files; a kill at any moment leaves the old pair or the new one.

    Args:
        folder: made when absent.
        tensors: contexts, optimizer moments and whatever else is no number.
        state: JSON values, with the "epoch" that both belong to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    epoch = str(state["epoch"])
    content = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    # The JSON goes into the tensor file, so that one rename replaces the whole checkpoint.
    temporary = folder / f"{TENSORS}.new"
    save_file(content, temporary, metadata={"epoch": epoch, "state": json.dumps(state)})
    temporary.replace(folder / TENSORS)


def read_checkpoint(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors and state of the checkpoint in `folder`, None when there is none.

    Raises:
        ModelError: when it is damaged.
    """
    path = folder / TENSORS
    if not path.is_file():
        return None
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as file:
            state = json.loads(file.metadata()["state"])
        return load_file(path), state
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError, OSError) as error:
        raise ModelError(
            f"the checkpoint {path} is damaged ({error}): delete it and start the run again"
        ) from error


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
