"""Region features of CLIP's ResNets: the attention pooling with its attention taken out (Eq. 4)."""

from collections.abc import Iterator

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
    """

    kind = "clip_resnet"
    stride = 32

    def __init__(self, visual: ModifiedResNet) -> None:
        super().__init__()
        self.visual = visual
        self.embed_dim = visual.attnpool.c_proj.out_features
        self.pretrained_grid = round((visual.attnpool.positional_embedding.shape[0] - 1) ** 0.5)
        self.image_size = self.pretrained_grid * self.stride

    def features(self, images: Tensor) -> Tensor:
        """The last feature map, (B, C, S/32, S/32)."""
        features = self.visual.stem(images)
        for stage in (self.visual.layer1, self.visual.layer2, self.visual.layer3, self.visual.layer4):
            features = stage(features)
        return features

    def local(self, features: Tensor) -> Tensor:
        """Value and output projection at every position."""
        positions = self.visual.attnpool.positional_embedding
        rows, columns = features.shape[-2:]
        if (rows, columns) != (self.pretrained_grid, self.pretrained_grid):
            positions = resample_abs_pos_embed(positions[None], [rows, columns], antialias=False)[0]
        return self._project(features.flatten(2).transpose(1, 2), positions[1:])

    def overall(self, features: Tensor) -> Tensor:
        """The same for the mean of the feature map."""
        return self._project(features.mean(dim=(2, 3)), self.visual.attnpool.positional_embedding[0])

    def pooled(self, images: Tensor) -> Tensor:
        """CLIP's attention pooling; maps of another size are averaged to its own grid first (Table 6)."""
        features = self.features(images)
        grid = (self.pretrained_grid, self.pretrained_grid)
        if features.shape[-2:] != grid:
            features = functional.adaptive_avg_pool2d(features, grid)
        return self.visual.attnpool(features)

    def pooling_parameters(self) -> Iterator[nn.Parameter]:
        """The attention-pooling layer."""
        return self.visual.attnpool.parameters()

    def _project(self, tokens: Tensor, positions: Tensor) -> Tensor:
        pool = self.visual.attnpool
        return pool.c_proj(pool.v_proj(tokens + positions.to(tokens.dtype)))
