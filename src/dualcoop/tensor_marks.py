"""Noticing that tensors are no longer what they were.

Each sign has its price. Memory and version counter cost next to nothing and tell of everything but writes behind the
counter's back: to `.data`, and those of fused optimizers. A sample of the values tells of these where they move all of
a tensor, as optimizers do. All values tell of everything, and take as much memory again.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor


class TensorMarks:
    """What some tensors were.

    Copies and pickles of marks fit nothing, as memory is no sign there, unless they go by all values.

    Args:
        tensors: to remember.
        values: about how many values of each are remembered besides memory and version counter. None goes by all values
            alone: equal tensors fit, wherever they are on the device. Tensors without a counter, as inference mode
            makes them, are remembered with all their values in any case.
    """

    def __init__(self, tensors: Iterable[Tensor], *, values: int | None = 0) -> None:
        tensors = [tensor.detach() for tensor in tensors]
        self._values = values
        self._traces: list[Any] | None = [_trace(tensor, values) for tensor in tensors]
        # Held, so that the memory of a tensor that is replaced does not become its successor's, which would have the
        # same trace. Where values tell them apart, the memory may go.
        self._held = tensors if values == 0 else []
        with torch.inference_mode(False), torch.no_grad():
            self._kept = {
                index: _remembered(tensor, values).clone()
                for index, tensor in enumerate(tensors)
                if values != 0 or version(tensor) is None
            }

    def fit(self, tensors: Sequence[Tensor]) -> bool:
        """Whether these are the tensors, in their order, and no change of them is seen."""
        return self._traces == [_trace(tensor, self._values) for tensor in tensors] and all(
            torch.equal(kept, _remembered(tensors[index], self._values)) for index, kept in self._kept.items()
        )

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ if self._values is None else {**self.__dict__, "_traces": None, "_held": [], "_kept": {}}


def version(tensor: Tensor) -> int | None:
    """How often a tensor was written to in place; None where nobody counts."""
    # A private name: with a release of torch that lacks it, all values are compared.
    return None if tensor.is_inference() else getattr(tensor, "_version", None)


def _trace(tensor: Tensor, values: int | None) -> tuple[Any, ...]:
    if values is None:
        return tensor.device, tensor.dtype, tensor.shape
    return tensor.data_ptr(), version(tensor)


def _remembered(tensor: Tensor, values: int | None) -> Tensor:
    everything = tensor.detach().reshape(-1)
    if values is None or version(tensor) is None:
        return everything
    return everything[:: max(1, tensor.numel() // values)]
