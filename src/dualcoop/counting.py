"""Progress of what takes long, and numbers in sentences."""

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[int, int | None], None]
"""Called with what is done and the total, None where the total is not known."""


def counted(number: int, noun: str) -> str:
    """A number with its noun: "1 image", "1,204 images", "3 classes"."""
    plural = noun + ("es" if noun.endswith(("s", "x", "ch")) else "s")
    return f"{number:,} {noun if number == 1 else plural}"
