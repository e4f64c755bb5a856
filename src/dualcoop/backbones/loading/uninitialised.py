"""Networks built for weights that are about to be loaded."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.overrides import TorchFunctionMode

# Functions of torch.nn.init that draw, and the tensor methods behind them.
DRAWING = {"normal_", "uniform_", "trunc_normal_", "kaiming_normal_", "kaiming_uniform_"}
DRAWING |= {"xavier_normal_", "xavier_uniform_", "erfinv_"}


class Uninitialised(TorchFunctionMode):
    """Inside, layers are built without drawing the random weights that loaded ones would replace.

    These weights hold whatever was in memory: load all of them. It takes seconds from the start of a large model, and
    leaves the random numbers of the caller as they were.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Leave out what draws in place."""
        kwargs = kwargs or {}
        if func.__name__ in DRAWING:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
