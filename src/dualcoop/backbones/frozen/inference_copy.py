"""Copies of a frozen tower as images or prompts go through it, kept while the tower stays the same."""

from threading import Lock
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from dualcoop.backbones.frozen.folding import folded

Tower = TypeVar("Tower", bound=nn.Module)


class Copies(NamedTuple):
    """Folded copies of a tower in one state.

    Attributes:
        marks: what tells the state from others.
        tensors: of the tower, held so that the memory of one that is replaced does not become its successor's, which
            would have the same mark.
        towers: by the dtype of autocast, None without.
    """

    marks: tuple[object, ...]
    tensors: list[Tensor]
    towers: dict[torch.dtype | None, nn.Module]


class InferenceCopy:
    """A folded copy of a tower for each precision, made when first needed and again when a tensor of the tower changes.

    They belong to the process: copies and pickles of their owner start without one. What is not seen: hooks on parts of
    the tower that were merged, or that were registered after the first use, and a module without tensors that is
    replaced by another.
    """

    def __init__(self) -> None:
        self._copies = Copies((), [], {})
        self._making = Lock()

    def of(self, tower: Tower, device_type: str) -> Tower:
        """The copy for the autocast that is on; the tower itself while any part of it is learnable or training.

        Args:
            tower: unfolded.
            device_type: where it computes, as `torch.autocast` names it.
        """
        learnable = any(parameter.requires_grad for parameter in tower.parameters())
        if learnable or _recorded() or any(module.training for module in tower.modules()):
            self._copies = Copies((), [], {})
            return tower
        lower = torch.get_autocast_dtype(device_type) if torch.is_autocast_enabled(device_type) else None
        tensors = [*tower.parameters(), *tower.buffers()]
        marks = (id(tower), *map(_mark, tensors))
        with self._making:
            if self._copies.marks != marks:
                self._copies = Copies(marks, [tensor.detach() for tensor in tensors], {})
            towers = self._copies.towers
            if lower not in towers:
                with torch.inference_mode(False), torch.no_grad(), torch.autocast(device_type, enabled=False):
                    towers[lower] = folded(tower, lower, device_type)
            return towers[lower]  # type: ignore[return-value]

    def __reduce__(self) -> tuple[type["InferenceCopy"], tuple[()]]:
        return InferenceCopy, ()


def _recorded() -> bool:
    """Whether operations are recorded or transformed: exporters fold by their own means, merged layers know neither."""
    forward_mode = torch.autograd.forward_ad._current_level >= 0
    transformed = torch._C._are_functorch_transforms_active()
    return torch.compiler.is_compiling() or torch.jit.is_tracing() or forward_mode or transformed


def _mark(tensor: Tensor) -> tuple[int, int]:
    # Fused optimizers leave no trace here; whoever runs one has made the tower learnable first.
    return tensor.data_ptr(), -1 if tensor.is_inference() else tensor._version
