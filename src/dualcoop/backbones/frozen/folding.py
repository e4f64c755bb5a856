"""A frozen tower for use: the same numbers up to rounding, in less time.

- A convolution and the BatchNorm behind it are one affine map while the statistics stand still, so they become one
  convolution; its weights lie channels last, as the CPU's and the GPU's kernels want them.
- A CPU's convolution does what follows it in the same pass: activations, and the sums of CLIP's ResNets.
- The factors of QuickGELU, x sigmoid(1.702 x) = silu(1.702 x) / 1.702, go into the linear layers around it.
- Attention runs without torch's transpositions.
- For autocast the weights of convolutions, linear layers and attention are kept in its dtype, which it would otherwise
  cast again for every batch.
"""

import copy
from itertools import pairwise
from typing import TypeVar

import torch
from open_clip.modified_resnet import Bottleneck, ModifiedResNet
from open_clip.transformer import QuickGELU
from timm.layers import Conv2dSame
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dualcoop.backbones.frozen.fused_convolution import FusedConvolution, fuses
from dualcoop.backbones.frozen.self_attention import SelfAttention

QUICK_GELU_SLOPE = 1.702

Tower = TypeVar("Tower", bound=nn.Module)


class FusedBottleneck(nn.Module):
    """open_clip's `Bottleneck` of CLIP's ResNets, BatchNorm folded, with activations and sum in its convolutions."""

    def __init__(self, block: Bottleneck) -> None:
        super().__init__()
        self.conv1 = FusedConvolution(block.conv1, block.act1)
        self.conv2 = FusedConvolution(block.conv2, block.act2)
        self.avgpool = block.avgpool
        self.conv3 = FusedConvolution(block.conv3, block.act3)
        self.downsample = block.downsample

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H / stride, W / stride)."""
        identity = features if self.downsample is None else self.downsample(features)
        return self.conv3(self.avgpool(self.conv2(self.conv1(features))), added=identity)


def folded(tower: Tower, lower: torch.dtype | None = None, device_type: str = "cpu") -> Tower:
    """A copy in which layers are merged with their neighbours; unchanged tensors are shared.

    Args:
        tower: in eval mode. In all supported towers a BatchNorm registered right behind a convolution is the next
            thing that the convolution's output goes through.
        lower: dtype of the weights of convolutions, linear layers and attention, for use under autocast in that dtype.
        device_type: where the copy computes, as `torch.autocast` names it.
    """
    shared: dict[int, Tensor] = {id(tensor): tensor for tensor in [*tower.parameters(), *tower.buffers()]}
    twin = copy.deepcopy(tower, dict(shared))
    kinds = {lower or tensor.dtype for tensor in tower.parameters()}
    fuse = all(fuses(device_type, dtype) for dtype in kinds)
    for parent in list(twin.modules()):
        _fold_batch_norms(parent, fuse=fuse)
        if isinstance(parent, nn.Sequential):
            _fold_quick_gelu(parent)
    for parent in list(twin.modules()):
        if fuse:
            _fuse_clip_resnet(parent)
        for name, child in list(parent.named_children()):
            if SelfAttention.supports(child):
                setattr(parent, name, SelfAttention(child))
    for module in twin.modules():
        if isinstance(module, nn.Conv2d | FusedConvolution):
            module.weight = _frozen(module.weight.to(memory_format=torch.channels_last), lower)
            if isinstance(module, FusedConvolution):
                module.bias = _frozen(module.bias, lower)
        elif isinstance(module, nn.Linear):
            module.weight = _frozen(module.weight, lower)
        elif isinstance(module, nn.MultiheadAttention | SelfAttention) and module.in_proj_weight is not None:
            module.in_proj_weight = _frozen(module.in_proj_weight, lower)
    return twin


def _fold_batch_norms(parent: nn.Module, *, fuse: bool) -> None:
    for (name, convolution), (norm_name, norm) in pairwise(list(parent.named_children())):
        if not isinstance(convolution, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
            continue
        merged = fuse_conv_bn_eval(convolution, norm).requires_grad_(False)
        # timm's BatchNorm carries the activation that follows it.
        activation = getattr(norm, "act", None) or nn.Identity()
        gains = isinstance(merged, Conv2dSame) or not isinstance(activation, nn.Identity)
        fused = fuse and gains and FusedConvolution.supports(merged, activation)
        setattr(parent, name, FusedConvolution(merged, activation) if fused else merged)
        setattr(parent, norm_name, nn.Identity() if fused else activation)


def _fuse_clip_resnet(parent: nn.Module) -> None:
    if isinstance(parent, ModifiedResNet) and _fusable(parent):
        for number in (1, 2, 3):
            convolution, activation = getattr(parent, f"conv{number}"), getattr(parent, f"act{number}")
            setattr(parent, f"conv{number}", FusedConvolution(convolution, activation))
            setattr(parent, f"act{number}", nn.Identity())
    for name, child in list(parent.named_children()):
        if isinstance(child, Bottleneck) and _fusable(child):
            setattr(parent, name, FusedBottleneck(child))


def _fusable(block: ModifiedResNet | Bottleneck) -> bool:
    """Whether all norms are folded, which open_clip's frozen ones are not, and followed by what is known."""
    norms, activations = (block.bn1, block.bn2, block.bn3), (block.act1, block.act2, block.act3)
    convolutions = (block.conv1, block.conv2, block.conv3)
    return (
        all(isinstance(norm, nn.Identity) for norm in norms)
        and all(isinstance(activation, nn.ReLU) for activation in activations)
        and all(FusedConvolution.supports(*pair) for pair in zip(convolutions, activations, strict=True))
    )


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
