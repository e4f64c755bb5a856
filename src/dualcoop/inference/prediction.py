"""What the model says about one image, and what decides that a class is present."""

import os
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dualcoop.class_names import class_index
from dualcoop.errors import PYTHON, ConfigError, Message

Thresholds: TypeAlias = float | Sequence[float] | NDArray[Any] | Mapping[str, float]
"""One number for all classes, one for each (M,), or a mapping that sets the named classes only."""

SHOWN = 5


@dataclass(frozen=True)
class Prediction:
    """Scores and decisions for every class of one image.

    Attributes:
        path: the file, or None for an image given in another form.
        labels: names decided present, highest score first.
        scores: probability of every class, in [0, 1], in the model's order.
        decisions: whether each class's score exceeds its threshold, in the model's order.
        error: why the image could not be read, when errors are skipped; labels, scores and decisions are
            empty then.
        message: the same as data, for front ends with words of their own.
    """

    path: Path | None
    labels: tuple[str, ...]
    scores: dict[str, float]
    decisions: dict[str, bool]
    error: str | None = None
    message: Message | None = None

    @classmethod
    def from_probabilities(
        cls,
        classes: Sequence[str],
        probabilities: NDArray[np.float32],
        thresholds: NDArray[np.float32],
        *,
        path: str | os.PathLike[str] | None = None,
    ) -> "Prediction":
        """Decide every class present whose probability (M,), in [0, 1], exceeds its threshold (M,)."""
        present = probabilities > thresholds
        order = np.argsort(-probabilities, kind="stable")
        return cls(
            path=None if path is None else Path(path),
            labels=tuple(classes[index] for index in order[present[order]]),
            scores=dict(zip(classes, probabilities.tolist(), strict=True)),
            decisions=dict(zip(classes, present.tolist(), strict=True)),
        )

    @classmethod
    def unreadable(cls, message: Message, *, path: str | os.PathLike[str] | None = None) -> "Prediction":
        """The place of an image that could not be read."""
        return cls(None if path is None else Path(path), (), {}, {}, message.rendered(PYTHON), message)

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The k classes of the highest scores with their scores, whether decided present or not."""
        return sorted(self.scores.items(), key=lambda item: -item[1])[: max(k, 0)]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: path, labels, scores, decisions, and error where there is one."""
        values = {
            "path": None if self.path is None else str(self.path),
            "labels": list(self.labels),
            "scores": dict(self.scores),
            "decisions": dict(self.decisions),
        }
        return values if self.error is None else {**values, "error": self.error}

    def __str__(self) -> str:
        where = "image" if self.path is None else str(self.path)
        if self.error is not None:
            return f"{where}: not read ({self.error})"
        if self.labels:
            return f"{where}: " + ", ".join(f"{name} {self.scores[name]:.2f}" for name in self.labels)
        best = ", ".join(f"{name} {score:.2f}" for name, score in self.top(1))
        return f"{where}: no label ({f'best: {best}' if best else 'no classes'})"

    def __repr__(self) -> str:
        where = None if self.path is None else str(self.path)
        if self.error is not None:
            return f"Prediction(path={where!r}, error={self.error!r})"
        scores = ", ".join(f"{name!r}: {score:.3f}" for name, score in self.top(SHOWN))
        rest = len(self.scores) - SHOWN
        more = f", and {rest} more" if rest > 0 else ""
        return f"Prediction(path={where!r}, labels={list(self.labels)}, scores={{{scores}{more}}})"


def updated_thresholds(
    classes: Sequence[str], current: NDArray[np.float32], thresholds: Thresholds | None
) -> NDArray[np.float32]:
    """The probabilities above which classes count as present, after a change: (M,), float32.

    Args:
        classes: M names.
        current: (M,), stays as it is.
        thresholds: see `Thresholds`; None changes nothing.

    Raises:
        ConfigError: for a wrong number of them, or values that are not finite.
        ModelError: for a name that is no class of this model.
    """
    values = np.array(current, dtype=np.float32)
    if thresholds is None:
        return values
    try:
        if isinstance(thresholds, Mapping):
            for name, value in thresholds.items():
                values[class_index(classes, name)] = value
        else:
            given = np.asarray(thresholds, dtype=np.float32)
            if given.ndim and given.shape != values.shape:
                raise ValueError(f"their shape is {given.shape}")
            values[:] = given
        if not np.isfinite(values).all():
            raise ValueError("some are not finite")
    except (TypeError, ValueError) as error:
        expected = f"one number, {len(values)} numbers, or numbers by class name"
        what = f"are {reprlib.repr(thresholds)} ({error}), expected {expected}"
        raise ConfigError(what, option="thresholds") from error
    return values
