"""Region features of open_clip's own vision transformers: ViT-B/32, ViT-B/16, ViT-L/14 and their kin."""

from collections.abc import Iterator

import torch
from open_clip.transformer import VisionTransformer
from timm.layers import resample_abs_pos_embed
from torch import Tensor, nn

from dualcoop.backbones.towers.two_towers import ImageTower, values_of
from dualcoop.errors import BackboneError


class VitTower(ImageTower):
    """A CLIP vision transformer.

    A region is the value path of the last attention layer at one patch, without its residual connection and
    without the block's MLP, through the final norm and the projection:

        Proj(LN_post(W_o W_v LN_1(x_i)))

    This is Eq. 4 carried over: the attention that mixes positions is taken out, its value and output
    projections stay. The value path comes from MaskCLIP (Zhou et al., "Extract Free Dense Labels from CLIP",
    ECCV 2022). MaskCLIP's published code adds the residual connection and the MLP back; ClearCLIP (Lan et
    al., ECCV 2024) finds that in the last block the residual carries the noise that hides local content and
    that the MLP is better discarded too, so both are left out.

    The global region is the model's own image feature (the class token, or the average where the model
    averages). Position embeddings of other sizes are interpolated as open_clip does when it loads a
    checkpoint for another size: bicubic, antialiased, the class token's row kept.

    Raises:
        BackboneError: for attentional poolers (CoCa) and for custom attention blocks.
    """

    kind = "vit_value_path"

    def __init__(self, visual: VisionTransformer) -> None:
        super().__init__()
        last = visual.transformer.resblocks[-1]
        if visual.attn_pool is not None or visual.pool_type not in ("tok", "avg"):
            raise BackboneError(
                "vision transformers with an attentional pooler (CoCa) are not supported",
                remedy="choose one that pools its class token or the average",
            )
        if not isinstance(last.attn, nn.MultiheadAttention):
            raise BackboneError(
                "vision transformers with custom attention blocks are not supported",
                remedy="choose one with standard attention",
            )
        self.visual = visual
        self.stride = int(visual.patch_size[0])
        self.image_size = int(visual.image_size[0])
        self.embed_dim = visual.proj.shape[1]
        self.kind = f"vit_value_path_{visual.pool_type}"

    def features(self, images: Tensor) -> Tensor:
        """Class token and patches, (B, 1 + R, W), as the last block receives them."""
        visual = self.visual
        patches = visual.conv1(images)
        rows, columns = patches.shape[-2:]
        positions = visual.positional_embedding
        if (rows, columns) != visual.grid_size:
            positions = resample_abs_pos_embed(positions[None], [rows, columns], list(visual.grid_size))[0]
        patches = patches.flatten(2).transpose(1, 2)
        class_token = visual.class_embedding.to(patches.dtype).expand(patches.shape[0], 1, -1)
        tokens = visual.ln_pre(torch.cat([class_token, patches], dim=1) + positions.to(patches.dtype))
        for block in visual.transformer.resblocks[:-1]:
            tokens = block(tokens)
        return tokens

    def local(self, features: Tensor) -> Tensor:
        """The value path of the last block at every patch."""
        last = self.visual.transformer.resblocks[-1]
        attention = last.attn
        values = values_of(last.ln_1(features[:, 1:]), attention.in_proj_weight, attention.in_proj_bias, 3)
        return self.visual.ln_post(last.ls_1(attention.out_proj(values))) @ self.visual.proj

    def overall(self, features: Tensor) -> Tensor:
        """The model's own image feature, with interpolated positions at other sizes."""
        visual = self.visual
        tokens = visual.transformer.resblocks[-1](features)
        if not visual.final_ln_after_pool:
            tokens = visual.ln_post(tokens)
        pooled = tokens[:, 0] if visual.pool_type == "tok" else tokens[:, 1:].mean(dim=1)
        if visual.final_ln_after_pool:
            pooled = visual.ln_post(pooled)
        return pooled @ visual.proj

    def pooling_parameters(self) -> Iterator[nn.Parameter]:
        """Final norm and projection."""
        yield from self.visual.ln_post.parameters()
        yield self.visual.proj
