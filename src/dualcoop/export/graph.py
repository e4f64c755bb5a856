"""The whole way from pixels to probabilities as one module, with nothing of the text path left in it."""

import torch
from torch import Tensor, nn

from dualcoop.functional import aggregated_similarities, probabilities
from dualcoop.network import DualCoOpNetwork

WHITE = 255


class TaggerGraph(nn.Module):
    """Image tower and head; the text features are constants.

    Args:
        network: the model, which stays as it is; its image tower is shared.
    """

    pixel_scale: Tensor
    pixel_shift: Tensor

    def __init__(self, network: DualCoOpNetwork) -> None:
        super().__init__()
        self.network = network
        with torch.no_grad():
            text = network.text_features()
        mean, std = (
            torch.tensor(values, dtype=torch.float32, device=network.device).view(3, 1, 1)
            for values in (network.backbone.mean, network.backbone.std)
        )
        self.prompts = tuple(text)
        for name, features in text.items():
            self.register_buffer(f"{name}_text", features)
        self.register_buffer("pixel_scale", 1 / (WHITE * std))
        self.register_buffer("pixel_shift", mean / std)

    def forward(self, pixels: Tensor) -> Tensor:
        """Probabilities (Eq. 3), (B, M), of squashed images (B, S, S, 3), uint8."""
        images = pixels.permute(0, 3, 1, 2).to(torch.float32) * self.pixel_scale - self.pixel_shift
        regions = self.network.encode_pixels(images)
        text = {name: self.get_buffer(f"{name}_text") for name in self.prompts}
        return probabilities(self.network.logits_from_regions(regions, text=text, aggregate=aggregated_similarities))
