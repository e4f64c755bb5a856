"""A real, small, random backbone: milliseconds a call, no downloads, the interface of the big ones."""

import hashlib
import re
import zlib
from collections.abc import Iterable, Sequence
from itertools import chain

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import interpolate, normalize

from dualcoop.backbones.base import Backbone
from dualcoop.errors import BackboneError

PAD, START, END, FIRST_WORD = 0, 1, 2, 3
PATCH = 8


class TinyBackbone(Backbone):
    """Patches through a convolution, words through two transformer layers.

    Words are lower-cased and cut into pieces of four characters, so that a long name takes several tokens.

    Args:
        seed: of the random weights.
        causal: True for CLIP's shape (start token, causal mask, pooled at the end token); False for SigLIP's
            (no start token, no mask, pooled at the last position of a padded sequence).
        context_length: longest token sequence.
        name: canonical name.
    """

    def __init__(self, *, seed: int = 0, causal: bool = True, context_length: int = 77, name: str = "tiny") -> None:
        super().__init__()
        self.name = name
        self.image_size = 32
        self.embed_dim = 16
        self.text_width = 24
        self.context_length = context_length
        self.context_start = 1 if causal else 0
        self.causal_text = causal
        self.spatial_scale = 20.0
        self.logit_scale = 100.0
        self.logit_bias = 0.0
        self.mean = (0.5, 0.5, 0.5)
        self.std = (0.5, 0.5, 0.5)
        self.interpolation = "bilinear"
        vocabulary = 512
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.patches = nn.Conv2d(3, 32, PATCH, PATCH)
            self.image_norm = nn.BatchNorm2d(32)
            self.image_query = nn.Linear(32, 32)
            self.image_projection = nn.Linear(32, self.embed_dim)
            self.words = nn.Embedding(vocabulary, self.text_width)
            self.positions = nn.Parameter(0.1 * torch.randn(context_length, self.text_width))
            layer = nn.TransformerEncoderLayer(self.text_width, 2, 48, dropout=0.0, batch_first=True, norm_first=True)
            self.text = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
            for parameter in self.text.parameters():
                if parameter.dim() > 1:
                    nn.init.normal_(parameter, std=0.2)
            self.text_norm = nn.LayerNorm(self.text_width)
            self.text_projection = nn.Linear(self.text_width, self.embed_dim, bias=False)
        self.freeze()

    def grid_size(self, image_size: int) -> tuple[int, int]:
        if image_size < PATCH or image_size % PATCH:
            raise BackboneError(f"image size is {image_size}, {self.name} takes multiples of {PATCH}")
        return image_size // PATCH, image_size // PATCH

    def image_parameters(self) -> Iterable[nn.Parameter]:
        image = (self.patches, self.image_norm, self.image_query, self.image_projection)
        return chain.from_iterable(part.parameters() for part in image)

    def pooling_parameters(self) -> Iterable[nn.Parameter]:
        return self.image_projection.parameters()

    def _map(self, images: Tensor) -> Tensor:
        return self.image_norm(self.patches(images)).flatten(2).transpose(1, 2)

    def encode_regions(self, images: Tensor, *, global_region: bool = True) -> Tensor:
        regions = self._map(images)
        if global_region:
            regions = torch.cat([regions.mean(dim=1, keepdim=True), regions], dim=1)
        return normalize(self.image_projection(regions), dim=-1)

    def encode_pooled(self, images: Tensor) -> Tensor:
        regions = self._map(images)
        query = self.image_query(regions.mean(dim=1, keepdim=True))
        weights = torch.softmax(query @ regions.transpose(1, 2), dim=-1)
        return normalize(self.image_projection((weights @ regions)[:, 0]), dim=-1)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        rows = torch.full((len(texts), self.context_length), PAD if self.causal_text else END)
        for row, text in enumerate(texts):
            words = re.findall(r"\w+|[^\w\s]", text.lower())
            pieces = [word[i : i + 4] for word in words for i in range(0, len(word), 4)]
            ids = [FIRST_WORD + zlib.crc32(piece.encode()) % (512 - FIRST_WORD) for piece in pieces]
            ids = [START, *ids, END] if self.causal_text else [*ids, END]
            if len(ids) > self.context_length:
                raise BackboneError(f"text {row} has {len(ids)} tokens, not {self.context_length}")
            rows[row, : len(ids)] = torch.tensor(ids)
        return rows

    def end_positions(self, tokens: Tensor) -> Tensor:
        if self.causal_text:
            return (tokens == END).int().argmax(dim=1).long()
        return torch.full((len(tokens),), self.context_length - 1)

    def embed_tokens(self, tokens: Tensor) -> Tensor:
        return self.words(tokens.to(self.positions.device))

    def encode_prompts(self, embeddings: Tensor, end_positions: Tensor, shared_prefix: Tensor | None = None) -> Tensor:
        if shared_prefix is not None:
            embeddings = torch.cat([shared_prefix.expand(len(embeddings), -1, -1), embeddings], dim=1)
            end_positions = end_positions + len(shared_prefix)
        length = embeddings.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length) if self.causal_text else None
        hidden = self.text(embeddings + self.positions[:length], mask=mask, is_causal=self.causal_text)
        pooled = hidden[torch.arange(len(hidden)), end_positions]
        return normalize(self.text_projection(self.text_norm(pooled)), dim=-1)

    def fingerprint(self) -> str:
        digest = hashlib.sha256(self.name.encode())
        for name, tensor in sorted(self.state_dict().items()):
            digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            digest.update(tensor.cpu().numpy().tobytes())
        return digest.hexdigest()


def tiny_image(seed: int = 0, size: tuple[int, int] = (48, 36)) -> Image.Image:
    """A random RGB image of soft colour blobs."""
    generator = torch.Generator().manual_seed(seed)
    blobs = interpolate(torch.rand(1, 3, 4, 4, generator=generator), size[::-1], mode="bicubic").clamp(0, 1)
    return Image.fromarray((255 * blobs[0].permute(1, 2, 0)).byte().numpy())
