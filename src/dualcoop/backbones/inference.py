"""A frozen tower as pictures or prompts go through it: the same numbers up to rounding, in less time.

A convolution and the BatchNorm behind it are one affine map while the statistics stand still, so they are folded into
one convolution; its weights lie channels last, as the CPU's and the GPU's kernels want them. The factors of QuickGELU,
x sigmoid(1.702 x) = silu(1.702 x) / 1.702, go into the linear layers around it. For autocast the weights of
convolutions, linear layers and attention are kept in its dtype, which it would otherwise cast again for every batch.
"""

import copy
from itertools import pairwise
from typing import NamedTuple, TypeVar

import torch
from open_clip.transformer import QuickGELU
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

QUICK_GELU_SLOPE = 1.702

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

    They belong to the process: copies and pickles of their owner start without one. What is not seen: hooks that are
    registered on the tower after the first use, and a module without tensors that is replaced by another.
    """

    def __init__(self) -> None:
        self._copies = Copies((), [], {})

    def of(self, tower: Tower, device_type: str) -> Tower:
        """The copy for the autocast that is on; the tower itself while any part of it is learnable or training.

        Args:
            tower: unfolded.
            device_type: where it computes, as `torch.autocast` names it.
        """
        learnable = any(parameter.requires_grad for parameter in tower.parameters())
        # Exporters trace the plain tower: what they make folds by its own means.
        if learnable or torch.compiler.is_compiling() or any(module.training for module in tower.modules()):
            self._copies = Copies((), [], {})
            return tower
        lower = torch.get_autocast_dtype(device_type) if torch.is_autocast_enabled(device_type) else None
        tensors = [*tower.parameters(), *tower.buffers()]
        marks = (id(tower), *map(_mark, tensors))
        # One object, so that threads never see the marks of one state with the copies of another.
        copies = self._copies
        if copies.marks != marks:
            copies = Copies(marks, [tensor.detach() for tensor in tensors], {})
        if lower not in copies.towers:
            with torch.inference_mode(False), torch.no_grad(), torch.autocast(device_type, enabled=False):
                copies.towers[lower] = folded(tower, lower)
        self._copies = copies
        return copies.towers[lower]  # type: ignore[return-value]

    def __reduce__(self) -> tuple[type["InferenceCopy"], tuple[()]]:
        return InferenceCopy, ()


def _mark(tensor: Tensor) -> tuple[int, int]:
    # Fused optimizers leave no trace here; whoever runs one has made the tower learnable first.
    return tensor.data_ptr(), -1 if tensor.is_inference() else tensor._version


def folded(tower: Tower, lower: torch.dtype | None = None) -> Tower:
    """A copy with BatchNorm and QuickGELU's factors folded into their neighbours; unchanged tensors are shared.

    Args:
        tower: in eval mode. In all supported towers a BatchNorm registered right behind a convolution is the next
            thing that the convolution's output goes through.
        lower: dtype of the weights of convolutions, linear layers and attention, for use under autocast in that dtype.
    """
    shared: dict[int, Tensor] = {id(tensor): tensor for tensor in [*tower.parameters(), *tower.buffers()]}
    twin = copy.deepcopy(tower, dict(shared))
    for parent in list(twin.modules()):
        for (name, convolution), (norm_name, norm) in pairwise(list(parent.named_children())):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, name, fuse_conv_bn_eval(convolution, norm).requires_grad_(False))
                # timm's BatchNorm carries the activation that follows it.
                setattr(parent, norm_name, getattr(norm, "act", None) or nn.Identity())
        if isinstance(parent, nn.Sequential):
            _fold_quick_gelu(parent)
    for module in twin.modules():
        if isinstance(module, nn.Conv2d):
            module.weight = _frozen(module.weight.to(memory_format=torch.channels_last), lower)
        elif isinstance(module, nn.Linear):
            module.weight = _frozen(module.weight, lower)
        elif isinstance(module, nn.MultiheadAttention) and module.in_proj_weight is not None:
            module.in_proj_weight = _frozen(module.in_proj_weight, lower)
    return twin


def _fold_quick_gelu(mlp: nn.Sequential) -> None:
    # A slice of the container itself would call the constructor of its class, which may want other arguments.
    layers = list(mlp)
    for index, (before, activation, after) in enumerate(zip(layers, layers[1:], layers[2:], strict=False)):
        if isinstance(before, nn.Linear) and isinstance(activation, QuickGELU) and isinstance(after, nn.Linear):
            before.weight = _frozen(before.weight * QUICK_GELU_SLOPE)
            if before.bias is not None:
                before.bias = _frozen(before.bias * QUICK_GELU_SLOPE)
            after.weight = _frozen(after.weight / QUICK_GELU_SLOPE)
            mlp[index + 1] = nn.SiLU()


def _frozen(weight: Tensor, dtype: torch.dtype | None = None) -> nn.Parameter:
    return nn.Parameter(weight if dtype is None else weight.to(dtype), requires_grad=False)
