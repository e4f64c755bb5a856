"""The text tower before its training: open_clip's causal transformer with the teacher's word embeddings."""

import torch
from open_clip.tokenizer import SimpleTokenizer
from sentence_transformers import SentenceTransformer
from torch import Tensor

from dualcoop.backbones.lite import TEXT_CONFIG
from dualcoop.backbones.text.tower import TextTower

EMBEDDING_STD = 0.05


def initial_word_embeddings(sentence_model: SentenceTransformer, tokenizer: SimpleTokenizer) -> Tensor:
    """Word embeddings (49408, 384) of CLIP's tokens: the mean of the teacher's pieces of the same string.

    They are centred and scaled to a common deviation.
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
    return matrix * (EMBEDDING_STD / matrix.std())


def initial_tower(embed_dim: int, words: Tensor) -> TextTower:
    """A tower with random layers and the given word embeddings (49408, W)."""
    tower = TextTower.from_config(embed_dim, TEXT_CONFIG)
    with torch.no_grad():
        tower.token_embedding.weight.copy_(words)
        tower.positional_embedding.normal_(std=0.01)
    return tower
