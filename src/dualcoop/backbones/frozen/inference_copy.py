"""Copies of a frozen tower as images or prompts go through it, kept while the tower stays the same."""

from threading import Lock
from typing import NamedTuple, TypeVar

import torch
from torch import nn
from torch.autograd import forward_ad

from dualcoop.backbones.frozen.folding import folded
from dualcoop.tensor_marks import TensorMarks

Tower = TypeVar("Tower", bound=nn.Module)


class Copies(NamedTuple):
    """Folded copies of a tower in one state, by the dtype of autocast, None without."""

    tower: int
    marks: TensorMarks
    by_dtype: dict[torch.dtype | None, nn.Module]


class InferenceCopy:
    """A folded copy of a tower for each precision, made when first needed and again when a tensor of the tower changes.

    Fused optimizers leave no sign of a change that is looked for here; whoever runs one has made the tower learnable
    first. The copies belong to the process: copies and pickles of their owner start without one. What is not seen:
    hooks on parts of the tower that were merged, or that were registered after the first use, and a module without
    tensors that is replaced by another.
    """

    def __init__(self) -> None:
        self._copies: Copies | None = None
        self._making = Lock()

    def of(self, tower: Tower, device_type: str) -> Tower:
        """The copy for the autocast that is on; the tower itself while any part of it is learnable or training."""
        tensors = [*tower.parameters(), *tower.buffers()]
        learnable = any(tensor.requires_grad for tensor in tensors)
        if learnable or recorded() or any(module.training for module in tower.modules()):
            self._copies = None
            return tower
        lower = torch.get_autocast_dtype(device_type) if torch.is_autocast_enabled(device_type) else None
        with self._making:
            copies = self._copies
            if copies is None or copies.tower != id(tower) or not copies.marks.fit(tensors):
                copies = self._copies = Copies(id(tower), TensorMarks(tensors), {})
            if lower not in copies.by_dtype:
                with torch.inference_mode(False), torch.no_grad(), torch.autocast(device_type, enabled=False):
                    copies.by_dtype[lower] = folded(tower, lower, device_type)
            return copies.by_dtype[lower]  # type: ignore[return-value]

    def __reduce__(self) -> tuple[type["InferenceCopy"], tuple[()]]:
        return InferenceCopy, ()


def recorded() -> bool:
    """Whether operations are recorded or transformed: exporters fold by their own means, merged layers know neither."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return True
    # A private name, and the only one: where a release of torch lacks it, the tower itself is right in any case.
    transformed = getattr(torch._C, "_are_functorch_transforms_active", None)
    return transformed is None or transformed() or _forward_mode()


def _forward_mode() -> bool:
    """Whether derivatives are computed along with the results: only then can a tensor be given one."""
    try:
        forward_ad.make_dual(*torch.zeros(2, device="cpu"))
    except RuntimeError:
        return False
    return True
