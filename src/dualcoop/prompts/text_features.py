"""Features of each class's prompts, by the prompts' names."""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor


class TextFeatures(Mapping[str, Tensor]):
    """Features (M, D), L2-normalised, of the prompts in use by name, the leading one first; it never changes.

    Attributes:
        leading: the prompt whose similarities give the weights over regions (Eq. 5).
    """

    def __init__(self, features: Mapping[str, Tensor], leading: str | None = None) -> None:
        """Take features as they are; by default "positive" leads where it is there, otherwise the first.

        Raises:
            ValueError: without features, or when the leading prompt has none.
        """
        if leading is None:
            leading = "positive" if "positive" in features else next(iter(features), None)
        if leading is None or leading not in features:
            raise ValueError(f"the leading prompt is {leading!r}, expected one of {', '.join(features) or 'some'}")
        self.leading = leading
        self._features = {leading: features[leading], **features}

    def __getitem__(self, name: str) -> Tensor:
        return self._features[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._features)

    def __len__(self) -> int:
        return len(self._features)

    def mapped(self, function: Callable[[Tensor], Tensor]) -> "TextFeatures":
        """The same prompts with `function` of their features."""
        return TextFeatures({name: function(each) for name, each in self.items()}, self.leading)

    def selected(self, rows: Tensor) -> "TextFeatures":
        """Features (K, D) of some classes, in their order; `rows` (K,) is int64."""
        return self.mapped(lambda each: each[rows])

    def stacked(self) -> Tensor:
        """All in one tensor, (P, M, D), the leading prompt first."""
        return torch.stack(list(self.values()))
