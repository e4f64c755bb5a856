"""Region features of timm's vision transformers inside open_clip: SigLIP, SigLIP 2, MobileCLIP-B."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import torch
from open_clip.timm_model import TimmModel
from timm.layers import AttentionPoolLatent, resample_abs_pos_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional

from dualcoop.backbones.towers.two_towers import ImageTower
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

    Args:
        visual: open_clip's adapter around a `timm` `VisionTransformer`.

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

    def regions(self, images: Tensor, *, global_region: bool) -> Tensor:
        """(B, 3, S, S) to (B, (S/patch)^2 [+ 1], D)."""
        trunk = self.visual.trunk
        tokens = self._before_last_block(images)
        last = trunk.blocks[-1]
        if self.pool == "map":
            final = trunk.norm(last(tokens))
            patches = self._map_head(final[:, trunk.num_prefix_tokens :])
        else:
            final = trunk.norm(last(tokens)) if global_region else None
            patches = trunk.norm(self._value_path(last, tokens[:, trunk.num_prefix_tokens :]))
        features = self._project(trunk.fc_norm(patches))
        if not global_region:
            return features
        return torch.cat([self._pool(final).unsqueeze(1), features], dim=1)

    def pooled(self, images: Tensor) -> Tensor:
        """The model's own image feature, with interpolated positions at other sizes."""
        trunk = self.visual.trunk
        return self._pool(trunk.norm(trunk.blocks[-1](self._before_last_block(images))))

    def pooling_parameters(self) -> Iterator[nn.Parameter]:
        """Final norms, pooling layer and projection."""
        trunk = self.visual.trunk
        parts = [trunk.norm, trunk.attn_pool, trunk.fc_norm, trunk.head, self.visual.head]
        return chain.from_iterable(part.parameters() for part in parts if part is not None)

    def _before_last_block(self, images: Tensor) -> Tensor:
        trunk = self.visual.trunk
        rows, columns = self.grid_size(images.shape[-1])
        # The patch embedding refuses what its stride does not divide; a convolution would drop the rest.
        images = images[..., : rows * self.stride, : columns * self.stride]
        tokens = trunk.patch_embed(images)
        prefix = [token for token in (trunk.cls_token, trunk.reg_token) if token is not None]
        expanded = [token.expand(tokens.shape[0], -1, -1) for token in prefix]
        positions = 0
        if trunk.pos_embed is not None:
            first = 0 if trunk.no_embed_class else trunk.num_prefix_tokens
            positions = resample_abs_pos_embed(trunk.pos_embed, [rows, columns], list(self.own_grid), first)
        if trunk.no_embed_class:
            tokens = torch.cat([*expanded, tokens + positions], dim=1)
        else:
            tokens = torch.cat([*expanded, tokens], dim=1) + positions
        tokens = trunk.norm_pre(tokens)
        for block in trunk.blocks[:-1]:
            tokens = block(tokens)
        return tokens

    def _map_head(self, patches: Tensor) -> Tensor:
        """The attention-pooling head with all attention on one patch, per patch: (B, R, C) to its like."""
        pool = self.visual.trunk.attn_pool
        width = pool.kv.out_features // 2
        bias = pool.kv.bias[width:] if pool.kv.bias is not None else None
        features = pool.proj(functional.linear(patches, pool.kv.weight[width:], bias))
        return features if pool.mlp is None else features + pool.mlp(pool.norm(features))

    def _value_path(self, block: Any, patches: Tensor) -> Tensor:
        attention = block.attn
        width = attention.qkv.out_features // 3
        bias = attention.qkv.bias[2 * width :] if attention.qkv.bias is not None else None
        values = functional.linear(block.norm1(patches), attention.qkv.weight[2 * width :], bias)
        return block.ls1(attention.proj(attention.norm(values)))

    def _pool(self, normed: Tensor) -> Tensor:
        return self.visual.head(self.visual.trunk.forward_head(normed))

    def _project(self, features: Tensor) -> Tensor:
        return self.visual.head(self.visual.trunk.head(features))
