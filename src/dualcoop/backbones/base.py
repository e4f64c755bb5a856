"""What every frozen vision-language model offers to the method."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from dualcoop.backbones.preprocessing import SquashAndNormalise


class Backbone(nn.Module, ABC):
    """A frozen image tower with region features and a text tower that takes prompt embeddings.

    Attributes:
        name: canonical name, as `create_backbone` understands it.
        image_size: default side of the square input, pixels.
        embed_dim: D, dimension of the joint space.
        text_width: W, dimension of a word embedding.
        context_length: longest token sequence, start and end tokens included (77 for CLIP).
        context_start: index of the first learned context token: 1 behind CLIP's start token, 0 without one.
        causal_text: tokens behind the end token do not matter, so prompts may be cut after it.
        spatial_scale: inverse temperature of the softmax over regions at `image_size` (20 for CLIP).
        logit_scale: scale of the aggregated cosines (100 for CLIP).
        logit_bias: added to the positive logit (0 for CLIP).
        zero_shot_scale: scale of the cosines to hand-crafted prompts; None where it is `logit_scale`.
        absence: how learned prompts say by default that a class is absent: in "words", or by the "opposite" text
            feature, where the joint space has its zero between presence and absence.
        mean, std: statistics of the input pixels, in units of [0, 1].
        interpolation: how images are resized, see `SquashAndNormalise`.
    """

    name: str
    image_size: int
    embed_dim: int
    text_width: int
    context_length: int
    context_start: int
    causal_text: bool
    spatial_scale: float
    logit_scale: float
    logit_bias: float
    zero_shot_scale: float | None = None
    absence: str = "words"
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bicubic"

    def freeze(self) -> "Backbone":
        """Stop all gradients and put BatchNorm and dropout in eval mode; subclasses call it last."""
        self.requires_grad_(False)
        return self.eval()

    def train(self, mode: bool = True) -> "Backbone":
        """Stay in eval mode: a frozen model's BatchNorm statistics must not move."""
        del mode
        return super().train(False)

    def spatial_scale_at(self, image_size: int) -> float:
        """Inverse temperature of the softmax over regions for inputs of this side, pixels; CLIP has one for all."""
        del image_size
        return self.spatial_scale

    @abstractmethod
    def grid_size(self, image_size: int) -> tuple[int, int]:
        """Rows and columns of the region grid for a square input.

        Raises:
            BackboneError: when the tower cannot take this size.
        """

    def preprocess(self, image_size: int | None = None) -> SquashAndNormalise:
        """Transform from an RGB image to (3, S, S): squashed to a square, not cropped, then normalised.

        Exported files and augmentations do the same by its attributes.

        Raises:
            BackboneError: when the tower cannot take this size.
        """
        size = self.image_size if image_size is None else image_size
        self.grid_size(size)
        return SquashAndNormalise(size, self.mean, self.std, self.interpolation)

    def image_parameters(self) -> Iterable[nn.Parameter]:
        """Parameters of the image tower, for fine-tuning; none where it cannot be fine-tuned."""
        return ()

    def pooling_parameters(self) -> Iterable[nn.Parameter]:
        """Those that lead from the feature map to the joint space, which Table 6 fine-tunes alone."""
        return ()

    @abstractmethod
    def encode_regions(self, images: Tensor, *, global_region: bool = True) -> Tensor:
        """Region features in the joint space (Eq. 4).

        Args:
            images: (B, 3, S, S), preprocessed.
            global_region: put the mean region at index 0, before the grid in row order.

        Returns:
            (B, R, D), L2-normalised over D; R is rows times columns, plus 1 with the global region.
        """

    @abstractmethod
    def encode_pooled(self, images: Tensor) -> Tensor:
        """Image features by the model's own pooling (Table 6): (B, D), L2-normalised."""

    @abstractmethod
    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Token ids, (M, context_length), int64, padded; texts that are too long raise BackboneError."""

    @abstractmethod
    def end_positions(self, tokens: Tensor) -> Tensor:
        """Index of the token at which each text is pooled, (M,), int64, from ids (M, L)."""

    @abstractmethod
    def embed_tokens(self, tokens: Tensor) -> Tensor:
        """Word embeddings without positions: ids (M, L) to (M, L, W)."""

    @abstractmethod
    def encode_prompts(self, embeddings: Tensor, end_positions: Tensor, shared_prefix: Tensor | None = None) -> Tensor:
        """Text features of prompt embeddings, differentiable with respect to them.

        Args:
            embeddings: (M, L, W); L may be below `context_length` where `causal_text` holds.
            end_positions: (M,), index of the pooled token in `embeddings`.
            shared_prefix: (P, W), what stands before every prompt; a causal tower computes it once for all.

        Returns:
            (M, D), L2-normalised.
        """

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Text features of plain texts: (M, D), L2-normalised."""
        tokens = self.tokenize(texts)
        return self.encode_prompts(self.embed_tokens(tokens), self.end_positions(tokens))

    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 (hex) over all tensors and the configuration that decides the numbers."""
