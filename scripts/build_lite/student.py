"""The text tower: open_clip's causal transformer, its word embeddings started from the teacher's."""

from typing import Any

import torch
from open_clip.tokenizer import SimpleTokenizer
from sentence_transformers import SentenceTransformer
from torch import Tensor

from dualcoop.backbones.text import TextTower

TEXT_CONFIG: dict[str, Any] = {
    "context_length": 77,
    "vocab_size": 49408,
    "width": 256,
    "heads": 4,
    "layers": 4,
}
EMBEDDING_STD = 0.05


def initial_word_embeddings(sentence_model: SentenceTransformer, tokenizer: SimpleTokenizer) -> Tensor:
    """Word embeddings (49408, W) of CLIP's tokens: the mean of the teacher's pieces of the same string.

    They are reduced to W by their principal components and scaled to a common deviation.
    """
    pieces = sentence_model.tokenizer
    table = sentence_model[0].auto_model.embeddings.word_embeddings.weight.detach().float()
    rows = []
    for token in range(TEXT_CONFIG["vocab_size"]):
        text = tokenizer.decode([token]).strip()
        ids = pieces(text, add_special_tokens=False)["input_ids"] if text else []
        rows.append(table[ids].mean(dim=0) if ids else table.mean(dim=0))
    matrix = torch.stack(rows)
    matrix = matrix - matrix.mean(dim=0)
    _, _, directions = torch.linalg.svd(matrix[:20000], full_matrices=False)
    reduced = matrix @ directions[: TEXT_CONFIG["width"]].T
    return reduced * (EMBEDDING_STD / reduced.std())


def build_tower(embed_dim: int, word_embeddings: Tensor) -> TextTower:
    """A tower with random layers and the given word embeddings."""
    tower = TextTower.from_config(embed_dim, TEXT_CONFIG)
    with torch.no_grad():
        tower.token_embedding.weight.copy_(word_embeddings)
        tower.positional_embedding.normal_(std=0.01)
    return tower
