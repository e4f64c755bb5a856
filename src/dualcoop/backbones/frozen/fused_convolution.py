"""Convolutions that add, and apply their activation, while their results are still in the processor's registers.

Between two convolutions an activation or a sum does next to nothing and yet reads and writes whole feature maps.
oneDNN does both on the way out. The operators are those that
torch's own compiler emits; where they are missing or give other numbers, `fuses` says no, and towers keep their layers.
"""

from functools import cache
from typing import Any

import torch
from timm.layers import Conv2dSame
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init

# As oneDNN names them: attribute, scalars, algorithm.
ACTIVATIONS: dict[type[nn.Module], tuple[str, list[float], str]] = {
    nn.Identity: ("none", [], ""),
    nn.ReLU: ("relu", [], ""),
    nn.ReLU6: ("hardtanh", [0.0, 6.0], ""),
}


class FusedConvolution(nn.Module):
    """A frozen convolution with what follows it: activation(convolution(x) [+ added]).

    TensorFlow's "same" padding is uneven where the stride is even. Zeros in front of the kernel make it even, which
    saves a copy of the padded input; sides of the input have to be multiples of the stride.

    Args:
        convolution: with a bias; its weights are taken over, not copied, unless they grow.
        activation: one of `ACTIVATIONS`.
    """

    def __init__(self, convolution: nn.Conv2d, activation: nn.Module) -> None:
        super().__init__()
        assert convolution.bias is not None
        weight = convolution.weight
        padding = [int(each) for each in convolution.padding]
        if isinstance(convolution, Conv2dSame):
            # Zeros of both sides together; of an odd number one more stands behind the input than before it.
            rows, columns = (max(k - s, 0) for k, s in zip(convolution.kernel_size, convolution.stride, strict=True))
            weight = nn.Parameter(functional.pad(weight, (columns % 2, 0, rows % 2, 0)), requires_grad=False)
            padding = [(rows + 1) // 2, (columns + 1) // 2]
        self.weight = weight
        self.bias = convolution.bias
        self.activation = activation
        self._stride, self._padding = list(convolution.stride), padding
        self._dilation, self._groups = list(convolution.dilation), convolution.groups

    @staticmethod
    def supports(convolution: nn.Conv2d, activation: nn.Module) -> bool:
        """Whether the two can be fused: no padding but by zeros, a known activation."""
        numbers = all(isinstance(each, int) for each in convolution.padding)
        undilated = not isinstance(convolution, Conv2dSame) or set(convolution.dilation) == {1}
        known = type(activation) in ACTIVATIONS and type(convolution) in (nn.Conv2d, Conv2dSame)
        return known and numbers and undilated and convolution.padding_mode == "zeros"

    def forward(self, features: Tensor, added: Tensor | None = None) -> Tensor:
        """(B, C, H, W) to (B, C', H', W'), in the weights' dtype, whatever that of `features`; differentiable.

        Args:
            features: of any floating dtype.
            added: of the result's shape, added before the activation, which has to be a ReLU.
        """
        features = features.to(self.weight.dtype)
        if torch.is_grad_enabled() and (features.requires_grad or (added is not None and added.requires_grad)):
            return self.plain(features, added)
        geometry = (self._padding, self._stride, self._dilation, self._groups)
        operator: Any = torch.ops.mkldnn._convolution_pointwise
        if added is None:
            return operator(features, self.weight, self.bias, *geometry, *ACTIVATIONS[type(self.activation)])
        other = added.to(self.weight.dtype).contiguous(memory_format=torch.channels_last)
        return operator.binary(features, other, self.weight, self.bias, *geometry, "add", 1.0, "relu", [], "")

    def plain(self, features: Tensor, added: Tensor | None = None) -> Tensor:
        """The same by torch's own operators, which know their gradients."""
        geometry = (self._stride, self._padding, self._dilation, self._groups)
        result = functional.conv2d(features, self.weight, self.bias, *geometry)
        return self.activation(result if added is None else result + added)


@cache
def fuses(device_type: str, dtype: torch.dtype) -> bool:
    """Whether fused convolutions with weights of this dtype work here and give what the layers give by themselves."""
    if device_type != "cpu" or dtype not in (torch.float32, torch.bfloat16) or not torch.backends.mkldnn.is_available():
        return False
    # Torch's own generator belongs to the caller, and to other threads that draw from it right now.
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        features = torch.randn(2, 16, 8, 8, generator=generator).to(dtype, memory_format=torch.channels_last)
        try:
            for activation, added in ((nn.ReLU6(), None), (nn.ReLU(), None), (nn.ReLU(), features)):
                groups = 16 if added is None else 1
                convolution = skip_init(nn.Conv2d, 16, 16, 3, padding=1, groups=groups, dtype=dtype)
                for tensor in convolution.parameters():
                    tensor.normal_(std=0.2, generator=generator)
                fused = FusedConvolution(convolution.requires_grad_(False), activation)
                found, expected = fused(features, added).float(), fused.plain(features, added).float()
                if not torch.allclose(found, expected, rtol=0.02, atol=0.02):
                    return False
        # The operators are private: another version of torch may take other arguments, or none.
        except (AttributeError, RuntimeError, TypeError):
            return False
    return True
