"""The whole way from pixels to probabilities as one module, with nothing of the text path left in it."""

import torch
from torch import Tensor, nn

from dualcoop.network import RegionClassifier

WHITE = 255


class TaggerGraph(nn.Module):
    """Image tower and head; what the head needs besides regions, such as text features, is constant.

    Args:
        network: the model, which stays as it is; its image tower is shared.
    """

    pixel_scale: Tensor
    pixel_shift: Tensor

    def __init__(self, network: RegionClassifier) -> None:
        super().__init__()
        self.network = network
        self.score = network.ready(traceable=True)
        mean, std = (
            torch.tensor(values, dtype=torch.float32, device=network.device).view(3, 1, 1)
            for values in (network.backbone.mean, network.backbone.std)
        )
        self.register_buffer("pixel_scale", 1 / (WHITE * std))
        self.register_buffer("pixel_shift", mean / std)

    def forward(self, pixels: Tensor) -> Tensor:
        """Probabilities (Eq. 3), (B, M), of squashed images (B, S, S, 3), uint8."""
        images = pixels.permute(0, 3, 1, 2).to(torch.float32) * self.pixel_scale - self.pixel_shift
        return self.score(self.network.encode_pixels(images))
