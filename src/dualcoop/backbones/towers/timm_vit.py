"""Region features of timm's vision transformers inside open_clip: SigLIP, SigLIP 2, MobileCLIP-B."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
from open_clip.timm_model import TimmModel
from timm.layers import AttentionPoolLatent, resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from dualcoop.backbones.towers.two_towers import ImageTower, values_of
from dualcoop.errors import BackboneError


class TimmVitTower(ImageTower):
    """A vision transformer of timm under open_clip's adapter.

    With attention pooling over a learned query (SigLIP's "MAP" head) a region is what the head would give if
    its query attended to that patch alone: the head's value and output projections, then its MLP with the
    residual connection that belongs to the head, per patch. Nothing of the transformer is taken out; this is
    Eq. 4 for a pooling layer that ends in an MLP.

    With class-token or average pooling (MobileCLIP-B) a region is the value path of the last attention layer
    at one patch, as for `VitTower`, through the final norm and the head.

    The global region is the model's own image feature. Position embeddings of other sizes are interpolated as
    timm does (bicubic, antialiased).

    Raises:
        BackboneError: for pooling layers of another kind.
    """

    visual: Any
    pool: str
    own_grid: tuple[int, int]

    def __init__(self, visual: TimmModel) -> None:
        super().__init__()
        trunk: VisionTransformer = visual.trunk
        pool = trunk.attn_pool
        if pool is not None and (not isinstance(pool, AttentionPoolLatent) or pool.pos_embed is not None):
            raise BackboneError(
                f"vision transformers pooled by {type(pool).__name__} are not supported",
                remedy="choose one that pools by a learned query (SigLIP), its class token or the average",
            )
        self.visual = visual
        self.pool = "map" if pool is not None else trunk.global_pool
        self.kind = f"timm_vit_{self.pool}"
        self.image_size = int(visual.image_size[0])
        self.stride = int(trunk.patch_embed.feat_ratio())
        # Sizes are checked against the stride by grid_size(), and positions are interpolated below.
        trunk.patch_embed.strict_img_size = False
        self.own_grid = trunk.patch_embed.grid_size
        with torch.no_grad():
            probe = torch.zeros(1, trunk.embed_dim, device=next(trunk.parameters()).device)
            self.embed_dim = int(self._project(probe).shape[-1])

    def local(self, features: Tensor) -> Tensor:
        """The pooling head on every patch alone, or the value path of the last block there."""
        trunk = self.visual.trunk
        patches = features[:, trunk.num_prefix_tokens :]
        if self.pool == "map":
            pool = trunk.attn_pool
            patches = pool.proj(values_of(patches, pool.kv.weight, pool.kv.bias, 2))
            if pool.mlp is not None:
                patches = patches + pool.mlp(pool.norm(patches))
        else:
            last = trunk.blocks[-1]
            attention = last.attn
            values = values_of(last.norm1(patches), attention.qkv.weight, attention.qkv.bias, 3)
            patches = trunk.norm(last.ls1(attention.proj(attention.norm(values))))
        return self._project(trunk.fc_norm(patches))

    def overall(self, features: Tensor) -> Tensor:
        """The model's own image feature, with interpolated positions at other sizes."""
        trunk = self.visual.trunk
        tokens = features if self.pool == "map" else trunk.norm(trunk.blocks[-1](features))
        return self.visual.head(trunk.forward_head(tokens))

    def pooling_parameters(self) -> Iterator[nn.Parameter]:
        """Final norms, pooling layer and projection."""
        trunk = self.visual.trunk
        parts = [trunk.norm, trunk.attn_pool, trunk.fc_norm, trunk.head, self.visual.head]
        return chain.from_iterable(part.parameters() for part in parts if part is not None)

    def features(self, images: Tensor) -> Tensor:
        """Tokens behind the final norm for a pooling head, otherwise as the last block receives them."""
        trunk = self.visual.trunk
        rows, columns = self.grid_size(images.shape[-1])
        # The patch embedding refuses what its stride does not divide; a convolution would drop the rest.
        images = images[..., : rows * self.stride, : columns * self.stride]
        tokens = trunk.patch_embed(images)
        prefix = [token for token in (trunk.cls_token, trunk.reg_token) if token is not None]
        prefix = [token.expand(tokens.shape[0], -1, -1) for token in prefix]
        positions = 0
        if trunk.pos_embed is not None:
            first = 0 if trunk.no_embed_class else trunk.num_prefix_tokens
            positions = resample_abs_pos_embed(trunk.pos_embed, [rows, columns], list(self.own_grid), first)
        if trunk.no_embed_class:
            tokens = torch.cat([*prefix, tokens + positions], dim=1)
        else:
            tokens = torch.cat([*prefix, tokens], dim=1) + positions
        tokens = trunk.norm_pre(tokens)
        for block in trunk.blocks[:-1]:
            tokens = block(tokens)
        return trunk.norm(trunk.blocks[-1](tokens)) if self.pool == "map" else tokens

    def _project(self, features: Tensor) -> Tensor:
        return self.visual.head(self.visual.trunk.head(features))
