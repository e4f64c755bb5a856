"""Token ids: start positions, texts that are too long."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

from backbones.tiny_models import fake_siglip_tokenizer
from dualcoop.backbones.text.tokens import PromptTokenizer
from dualcoop.errors import BackboneError

CLIP = SimpleTokenizer()
START, END = 49406, 49407


def start_token_tokenizer(texts: list[str], context_length: int) -> Tensor:
    """As BERT's: start token 101, end token 102, padded with 0."""
    rows = []
    for text in texts:
        ids = [101, *[1000 + ord(letter) for letter in text][: context_length - 2], 102]
        rows.append(ids + [0] * (context_length - len(ids)))
    return torch.tensor(rows)


def test_ids_are_clips_own() -> None:
    tokenizer = PromptTokenizer(CLIP, 77)
    assert torch.equal(tokenizer(["a photo of a dog."]), CLIP(["a photo of a dog."]))
    assert tokenizer(["a", "b"]).dtype == torch.int64


def test_context_starts_behind_a_start_token() -> None:
    assert PromptTokenizer(CLIP, 77).context_start == 1
    assert PromptTokenizer(start_token_tokenizer, 12).context_start == 1
    assert PromptTokenizer(fake_siglip_tokenizer, 12).context_start == 0


@settings(deadline=None, max_examples=40)
@given(words=st.integers(1, 30))
def test_clip_takes_what_fits_and_refuses_the_rest(words: int) -> None:
    tokenizer = PromptTokenizer(CLIP, 16)
    text = " ".join(["dog"] * words)
    if words + 2 <= 16:
        assert (tokenizer([text])[0] == END).nonzero()[0].item() == words + 1
    else:
        with pytest.raises(BackboneError, match="more than the 16 tokens"):
            tokenizer(["cat", text])


@settings(deadline=None, max_examples=40)
@given(words=st.integers(0, 30))
def test_an_end_token_that_is_also_the_padding_does_not_hide_a_cut(words: int) -> None:
    tokenizer = PromptTokenizer(fake_siglip_tokenizer, 12)
    text = " ".join(["dog"] * words)
    if words + 1 <= 12:
        assert tokenizer([text]).shape == (1, 12)
    else:
        with pytest.raises(BackboneError, match="more than the 12 tokens"):
            tokenizer([text])


@settings(deadline=None, max_examples=40)
@given(letters=st.integers(0, 30))
def test_a_start_token_tokenizer_refuses_what_it_would_cut(letters: int) -> None:
    tokenizer = PromptTokenizer(start_token_tokenizer, 12)
    if letters + 2 <= 12:
        assert tokenizer(["x" * letters]).shape == (1, 12)
    else:
        with pytest.raises(BackboneError, match="more than the 12 tokens"):
            tokenizer(["x" * letters])


def test_the_error_quotes_the_text_that_is_too_long_and_not_all_of_a_novel() -> None:
    tokenizer = PromptTokenizer(CLIP, 8)
    with pytest.raises(BackboneError, match="'boat boat boat boat boat boat boat'"):
        tokenizer(["dog", " ".join(["boat"] * 7)])
    with pytest.raises(BackboneError) as caught:
        tokenizer([" ".join(["boat"] * 500)])
    assert len(str(caught.value)) < 300


def test_no_texts_give_no_rows() -> None:
    assert PromptTokenizer(CLIP, 77)([]).shape == (0, 77)


def test_probes_tell_tokenizers_apart() -> None:
    lower, canonical = SimpleTokenizer(), SimpleTokenizer(clean="canonicalize")
    assert PromptTokenizer(lower, 77).probe() == PromptTokenizer(SimpleTokenizer(), 77).probe()
    assert PromptTokenizer(lower, 77).probe() != PromptTokenizer(canonical, 77).probe()
