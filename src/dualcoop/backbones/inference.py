"""A frozen tower as pictures or prompts go through it: the same numbers up to rounding, in less time.

A convolution and the BatchNorm behind it are one affine map while the statistics stand still, so they are folded into
one convolution; its weights lie channels last, as the CPU's and the GPU's kernels want them. The factors of QuickGELU,
x sigmoid(1.702 x) = silu(1.702 x) / 1.702, go into the linear layers around it. For autocast the weights of
convolutions, linear layers and attention are kept in its dtype, which it would otherwise cast again for every batch.
"""

import copy
from itertools import pairwise
from typing import TypeVar

import torch
from open_clip.transformer import QuickGELU
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

QUICK_GELU_SLOPE = 1.702

Tower = TypeVar("Tower", bound=nn.Module)


class InferenceCopy:
    """A folded copy of a tower for each precision, made when first needed and again when a tensor of the tower changes.

    They belong to the process: copies and pickles of their owner start without one.
    """

    def __init__(self) -> None:
        self._kept: dict[torch.dtype | None, nn.Module] = {}
        self._made_from: tuple[object, ...] = ()

    def of(self, tower: Tower, device_type: str) -> Tower:
        """The copy for the autocast that is on; the tower itself while any part of it is learnable or training.

        Args:
            tower: unfolded.
            device_type: where it computes, as `torch.autocast` names it.
        """
        learnable = any(parameter.requires_grad for parameter in tower.parameters())
        # Exporters trace the plain tower: what they make folds by its own means.
        if learnable or torch.compiler.is_compiling() or any(module.training for module in tower.modules()):
            self._kept = {}
            return tower
        lower = torch.get_autocast_dtype(device_type) if torch.is_autocast_enabled(device_type) else None
        made_from = (id(tower), *(_mark(tensor) for tensor in [*tower.parameters(), *tower.buffers()]))
        if self._made_from != made_from:
            self._kept, self._made_from = {}, made_from
        if lower not in self._kept:
            with torch.inference_mode(False), torch.no_grad(), torch.autocast(device_type, enabled=False):
                self._kept[lower] = folded(tower, lower)
        return self._kept[lower]  # type: ignore[return-value]

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
    for index, (before, activation, after) in enumerate(zip(mlp, mlp[1:], mlp[2:], strict=False)):
        if isinstance(before, nn.Linear) and isinstance(activation, QuickGELU) and isinstance(after, nn.Linear):
            before.weight = _frozen(before.weight * QUICK_GELU_SLOPE)
            if before.bias is not None:
                before.bias = _frozen(before.bias * QUICK_GELU_SLOPE)
            after.weight = _frozen(after.weight / QUICK_GELU_SLOPE)
            mlp[index + 1] = nn.SiLU()


def _frozen(weight: Tensor, dtype: torch.dtype | None = None) -> nn.Parameter:
    return nn.Parameter(weight if dtype is None else weight.to(dtype), requires_grad=False)
