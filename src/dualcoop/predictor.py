"""Labels for pictures, whatever computes the probabilities; needs no torch."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dualcoop.pictures import Picture, PictureBatch, Progress, is_single_picture, picture_batches
from dualcoop.prediction import Prediction
from dualcoop.squash import DRAFT_OVERSAMPLING


class Predictor(ABC):
    """What reads pictures batch by batch, scores them and decides by thresholds.

    Attributes:
        classes: M names.
        image_size: side of the square input, pixels.
    """

    classes: tuple[str, ...]
    image_size: int

    @abstractmethod
    def preprocessing(self) -> Callable[[Image.Image], Any]:
        """Transform from an upright RGB picture to what is stacked for `probabilities_of`."""

    @abstractmethod
    def probabilities_of(self, pixels: Any) -> NDArray[np.float32]:
        """Probability of every class (Eq. 3), (B, M), of stacked, preprocessed pictures."""

    @abstractmethod
    def threshold_values(self) -> NDArray[np.float32]:
        """(M,): a class is present where its probability exceeds its threshold."""

    def predict_proba(
        self, images: Picture | Iterable[Picture], batch_size: int = 32, progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """Probability of every class (Eq. 3): (B, M), float32; one picture gives (1, M).

        Args:
            images: one or many of: a path, a PIL image, RGB pixels (H, W, 3) as uint8.
            batch_size: pictures encoded at once.
            progress: called as progress(done, total) after every batch.

        Raises:
            DataError: naming the first picture that cannot be read.
        """
        scores = [np.empty((0, len(self.classes)), dtype=np.float32)]
        for batch in self.read_batches(images, batch_size, "raise", progress):
            if batch.pixels is not None:
                scores.append(self.probabilities_of(batch.pixels))
        return np.concatenate(scores)

    def predict(
        self,
        images: Picture | Iterable[Picture],
        batch_size: int = 32,
        *,
        on_error: str = "raise",
        progress: Progress | None = None,
        workers: int | None = None,
    ) -> Prediction | list[Prediction]:
        """Labels, scores and decisions: one picture gives one Prediction, several give a list in their order.

        Args:
            images: see `predict_proba`.
            batch_size: pictures encoded at once.
            on_error: "raise" stops at a picture that cannot be read; "skip" puts a Prediction whose `error`
                says why in its place, so that the list has one entry for every picture.
            progress: called as progress(done, total) after every batch.
            workers: threads that read pictures while others are encoded, by default one for each core.

        Raises:
            DataError: with "raise", naming the first picture that cannot be read.
            ConfigError: for another `on_error`, or workers under 1.
        """
        predictions = self.iter_predictions(images, batch_size, on_error=on_error, progress=progress, workers=workers)
        return next(predictions) if is_single_picture(images) else list(predictions)

    def iter_predictions(
        self,
        images: Picture | Iterable[Picture],
        batch_size: int = 32,
        *,
        on_error: str = "raise",
        progress: Progress | None = None,
        workers: int | None = None,
    ) -> Iterator[Prediction]:
        """Predictions in order as batches are done, holding one batch at a time; see `predict`."""
        thresholds = self.threshold_values()
        for batch in self.read_batches(images, batch_size, on_error, progress, workers):
            scores = iter(() if batch.pixels is None else self.probabilities_of(batch.pixels))
            for path, error in zip(batch.paths, batch.errors, strict=True):
                if error is not None:
                    yield Prediction.unreadable(error, path=path)
                else:
                    yield Prediction.from_probabilities(self.classes, next(scores), thresholds, path=path)

    def read_batches(
        self,
        images: Picture | Iterable[Picture],
        batch_size: int,
        on_error: str,
        progress: Progress | None,
        workers: int | None = None,
    ) -> Iterator[PictureBatch]:
        """Batches of preprocessed pictures; `progress` hears of each once the caller is done with it."""
        pictures: Iterable[Picture] = [images] if is_single_picture(images) else images  # type: ignore[assignment]
        total = len(pictures) if isinstance(pictures, Sized) else None
        done = 0
        batches = picture_batches(
            pictures,
            self.preprocessing(),
            batch_size=batch_size,
            on_error=on_error,
            draft_size=DRAFT_OVERSAMPLING * self.image_size,
            workers=workers,
        )
        with closing(batches):
            for batch in batches:
                yield batch
                done += len(batch.paths)
                if progress is not None:
                    progress(done, total)
