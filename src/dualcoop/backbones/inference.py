"""The image tower as frozen pictures go through it: the same numbers up to rounding, in less time.

A convolution and the BatchNorm behind it are one affine map while the statistics stand still, so they are folded into
one convolution; its weights lie channels last, as the CPU's and the GPU's kernels want them. For autocast the weights
of convolutions and linear layers are kept in its dtype, which it would otherwise cast again for every batch.
"""

import copy
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Tower = TypeVar("Tower", bound=nn.Module)


class InferenceCopy:
    """A folded copy of a tower, made when first needed and again when a tensor of the tower changes.

    It belongs to the process: copies and pickles of its owner start without one.
    """

    def __init__(self) -> None:
        self._kept: nn.Module | None = None
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
            self._kept = None
            return tower
        lower = torch.get_autocast_dtype(device_type) if torch.is_autocast_enabled(device_type) else None
        made_from = (id(tower), lower, *(_mark(tensor) for tensor in [*tower.parameters(), *tower.buffers()]))
        if self._kept is None or self._made_from != made_from:
            self._kept = None
            with torch.inference_mode(False), torch.no_grad(), torch.autocast(device_type, enabled=False):
                self._kept = folded(tower, lower)
            self._made_from = made_from
        return self._kept  # type: ignore[return-value]

    def __reduce__(self) -> tuple[type["InferenceCopy"], tuple[()]]:
        return InferenceCopy, ()


def _mark(tensor: Tensor) -> tuple[int, int]:
    # Fused optimizers leave no trace here; whoever runs one has made the tower learnable first.
    return tensor.data_ptr(), -1 if tensor.is_inference() else tensor._version


def folded(tower: Tower, lower: torch.dtype | None = None) -> Tower:
    """A copy with BatchNorm folded into the convolutions before it; tensors that stay the same are shared.

    Args:
        tower: in eval mode. In all supported towers a BatchNorm registered right behind a convolution is the next
            thing that the convolution's output goes through.
        lower: dtype of the weights of convolutions and linear layers, for use under autocast in that dtype.
    """
    shared: dict[int, Tensor] = {id(tensor): tensor for tensor in [*tower.parameters(), *tower.buffers()]}
    twin = copy.deepcopy(tower, dict(shared))
    for parent in list(twin.modules()):
        for (name, convolution), (norm_name, norm) in pairwise(list(parent.named_children())):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, name, fuse_conv_bn_eval(convolution, norm).requires_grad_(False))
                # timm's BatchNorm carries the activation that follows it.
                setattr(parent, norm_name, getattr(norm, "act", None) or nn.Identity())
    for module in twin.modules():
        if isinstance(module, nn.Conv2d):
            weight = module.weight.to(memory_format=torch.channels_last)
        elif isinstance(module, nn.Linear):
            weight = module.weight
        else:
            continue
        module.weight = nn.Parameter(weight if lower is None else weight.to(lower), requires_grad=False)
    return twin
