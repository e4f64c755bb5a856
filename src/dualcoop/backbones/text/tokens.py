"""Token ids for any open_clip tokenizer, with texts that do not fit refused instead of cut."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dualcoop.errors import BackboneError

PROBE_WORDS = ("cat", "dog", "house", "tree")
PROBE_TEXT = "A photo of 2 Dogs, a café & the cat's traffic_light."
LONGEST_QUOTE = 60


class PromptTokenizer:
    """A tokenizer of fixed length.

    Args:
        tokenizer: an open_clip tokenizer, called as `tokenizer(texts, context_length=L)`, giving (M, L) ids.
        context_length: longest sequence that the text tower takes, start and end tokens included.

    Attributes:
        context_start: index of the first token that belongs to the text: 1 behind a start token, 0 without.
    """

    def __init__(self, tokenizer: Callable[..., Tensor], context_length: int) -> None:
        self._tokenizer = tokenizer
        self.context_length = context_length
        self._padding = int(self._ids([""], context_length)[0, -1])
        words = self._ids(list(PROBE_WORDS), context_length)
        self.context_start = int((words != words[:1]).any(dim=0).int().argmax())

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Ids of the texts, (M, context_length), int64, padded.

        Raises:
            BackboneError: when a text does not fit.
        """
        texts = [texts] if isinstance(texts, str) else list(texts)
        if not texts:
            return torch.zeros(0, self.context_length, dtype=torch.long)
        ids = self._ids(texts, self.context_length)
        # Tokenizers cut silently. With one more place a text that fits only gains padding.
        longer = self._ids(texts, self.context_length + 1)
        cut = (longer[:, :-1] != ids).any(dim=1) | (longer[:, -1] != self._padding)
        if bool(cut.any()):
            quote = texts[int(cut.int().argmax())]
            quote = quote if len(quote) <= LONGEST_QUOTE else quote[:LONGEST_QUOTE] + "..."
            raise BackboneError(
                f"the text {quote!r} needs more than the {self.context_length} tokens that this backbone takes",
                remedy="use a shorter class name, a shorter template or fewer context tokens",
            )
        return ids

    def probe(self) -> list[int]:
        """Ids of a fixed text, which tell one tokenizer from another."""
        return self._ids([PROBE_TEXT], self.context_length)[0].tolist()

    def _ids(self, texts: list[str], length: int) -> Tensor:
        return torch.as_tensor(self._tokenizer(texts, context_length=length)).to(torch.long)
