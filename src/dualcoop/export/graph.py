"""The whole way from pixels to probabilities as one module, with nothing of the text path left in it."""

import torch
from torch import Tensor, nn

from dualcoop.functional import dual_logits, probabilities
from dualcoop.network import DualCoOpNetwork

WHITE = 255


class TaggerGraph(nn.Module):
    """Image tower and head; the text features are constants.

    Args:
        network: the model, which stays as it is; its image tower is shared.
    """

    positive_text: Tensor | None
    negative_text: Tensor | None
    logit_bias: Tensor
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
        self.register_buffer("positive_text", text.positive)
        self.register_buffer("negative_text", text.negative)
        self.register_buffer("logit_bias", network.logit_bias + network.class_bias)
        self.register_buffer("pixel_scale", 1 / (WHITE * std))
        self.register_buffer("pixel_shift", mean / std)

    def forward(self, pixels: Tensor) -> Tensor:
        """Probabilities (Eq. 3), (B, M), of squashed images (B, S, S, 3), uint8."""
        images = pixels.permute(0, 3, 1, 2).to(torch.float32) * self.pixel_scale - self.pixel_shift
        regions = self.network.encode_pixels(images)
        aggregation = self.network.aggregation
        logits = dual_logits(
            regions,
            self.positive_text,
            self.negative_text,
            spatial_scale=self.network.spatial_scale,
            logit_scale=self.network.logit_scale,
            logit_bias=self.logit_bias,
            aggregation="average" if aggregation == "attention" else aggregation,
        )
        return probabilities(logits)
