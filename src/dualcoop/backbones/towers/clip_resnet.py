"""Region features of CLIP's ResNets: the attention pooling with its attention taken out (Eq. 4)."""

from collections.abc import Iterator

import torch
from open_clip.modified_resnet import ModifiedResNet
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn
from torch.nn import functional

from dualcoop.backbones.towers.two_towers import ImageTower


class ClipResNetTower(ImageTower):
    """RN50, RN101, RN50x4 and larger, through open_clip.

    A region is Proj(v(x_i + position_i)): the value and the output projection of the attention-pooling layer
    at every position, with no attention computed. The mean of the feature map is one more region, at index 0.
    At other sizes than the pretrained one the positional embedding is interpolated bicubically; its first row
    belongs to the mean and stays.

    Args:
        visual: open_clip's image tower.
    """

    kind = "clip_resnet"
    stride = 32

    def __init__(self, visual: ModifiedResNet) -> None:
        super().__init__()
        self.visual = visual
        self.embed_dim = visual.attnpool.c_proj.out_features
        self.pretrained_grid = round((visual.attnpool.positional_embedding.shape[0] - 1) ** 0.5)
        self.image_size = self.pretrained_grid * self.stride

    def regions(self, images: Tensor, *, global_region: bool) -> Tensor:
        """(B, 3, S, S) to (B, (S/32)^2 [+ 1], D)."""
        pool = self.visual.attnpool
        feature_map = self._feature_map(images)
        positions = self._positions(feature_map.shape[-2], feature_map.shape[-1])
        tokens = feature_map.flatten(2).transpose(1, 2)
        if global_region:
            tokens = torch.cat([tokens.mean(dim=1, keepdim=True), tokens], dim=1)
        else:
            positions = positions[1:]
        return pool.c_proj(pool.v_proj(tokens + positions.to(tokens.dtype)))

    def pooled(self, images: Tensor) -> Tensor:
        """CLIP's attention pooling; maps of another size are averaged to its own grid first (Table 6)."""
        feature_map = self._feature_map(images)
        grid = (self.pretrained_grid, self.pretrained_grid)
        if feature_map.shape[-2:] != grid:
            feature_map = functional.adaptive_avg_pool2d(feature_map, grid)
        return self.visual.attnpool(feature_map)

    def pooling_parameters(self) -> Iterator[nn.Parameter]:
        """The attention-pooling layer."""
        return self.visual.attnpool.parameters()

    def _feature_map(self, images: Tensor) -> Tensor:
        features = self.visual.stem(images)
        for stage in (self.visual.layer1, self.visual.layer2, self.visual.layer3, self.visual.layer4):
            features = stage(features)
        return features

    def _positions(self, rows: int, columns: int) -> Tensor:
        """Positional embedding of the mean and of every position, (1 + rows * columns, C)."""
        own = self.visual.attnpool.positional_embedding
        if (rows, columns) == (self.pretrained_grid, self.pretrained_grid):
            return own
        return resample_abs_pos_embed(own[None], [rows, columns], antialias=False)[0]
