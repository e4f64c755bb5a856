"""Region features of timm's convolutional towers inside open_clip: MobileCLIP's FastViT, CLIP's ConvNeXt."""

from collections.abc import Iterator
from itertools import chain

import torch
from open_clip.timm_model import TimmModel
from torch import Tensor, nn

from dualcoop.backbones.towers.two_towers import ImageTower


class TimmConvTower(ImageTower):
    """A convolutional network that averages its last feature map and projects the mean.

    There is no attention to take out: a region is what the head gives for one position of the last feature
    map as if it were the whole map, and the global region is what it gives for the mean, the model's own
    image feature.
    """

    kind = "timm_conv"

    def __init__(self, visual: TimmModel) -> None:
        super().__init__()
        self.visual = visual.eval()
        self.image_size = int(visual.image_size[0])
        self.stride = int(visual.trunk.feature_info[-1]["reduction"])
        with torch.no_grad():
            probe = torch.zeros(1, visual.trunk.num_features, 1, 1, device=next(visual.parameters()).device)
            self.embed_dim = int(self.overall(probe).shape[-1])

    def features(self, images: Tensor) -> Tensor:
        """The last feature map, (B, C, S/stride, S/stride)."""
        return self.visual.trunk.forward_features(images)

    def local(self, features: Tensor) -> Tensor:
        """The head at every position."""
        single = features.permute(0, 2, 3, 1).flatten(0, 2)[..., None, None]
        return self.overall(single).unflatten(0, (-1, features.shape[2] * features.shape[3]))

    def overall(self, features: Tensor) -> Tensor:
        """The head, which averages its input."""
        return self.visual.head(self.visual.trunk.forward_head(features))

    def pooling_parameters(self) -> Iterator[nn.Parameter]:
        """The head behind the last feature map."""
        return chain(self.visual.trunk.head.parameters(), self.visual.head.parameters())
