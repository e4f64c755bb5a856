"""Labels for images, whatever computes the probabilities; needs no torch."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from contextlib import closing
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dualcoop.checks import check_whole
from dualcoop.inference.images import (
    Batch,
    ImageBatch,
    ImageInput,
    Progress,
    Result,
    image_batches,
    in_turn,
    is_single_image,
)
from dualcoop.inference.prediction import Prediction
from dualcoop.inference.squash import DRAFT_OVERSAMPLING

# Images of a stream for which dividing the threads pays.
FEWEST_EACH = 2


class Predictor(ABC):
    """What reads images batch by batch, scores them and decides by thresholds.

    Attributes:
        classes: M names.
        image_size: side of the square input, pixels.
    """

    classes: tuple[str, ...]
    image_size: int

    @abstractmethod
    def preprocessing(self) -> Callable[[Image.Image], Any]:
        """Transform from an upright RGB image to what is stacked for `probabilities_of`."""

    @abstractmethod
    def probabilities_of(self, pixels: Any) -> NDArray[np.float32]:
        """Probability of every class (Eq. 3), (B, M), of stacked, preprocessed images."""

    @abstractmethod
    def threshold_values(self) -> NDArray[np.float32]:
        """(M,): a class is present where its probability exceeds its threshold."""

    def ready_probabilities_of(self) -> Callable[[Any], NDArray[np.float32]]:
        """`probabilities_of`, once whatever all batches need is there."""
        return self.probabilities_of

    def streams(self) -> int:
        """Batches that `compute_batches` computes at a time."""
        return 1

    def compute_batches(
        self, batches: Iterable[Batch], compute: Callable[[Batch], Result]
    ) -> Generator[tuple[Batch, Result], None, None]:
        """Every batch with its result, in order."""
        return in_turn(batches, compute)

    def predict_proba(
        self, images: ImageInput | Iterable[ImageInput], batch_size: int = 32, progress: Progress | None = None
    ) -> NDArray[np.float32]:
        """Probability of every class (Eq. 3): (B, M), float32; one image gives (1, M).

        Args:
            images: one or many of: a path, a PIL image, RGB pixels (H, W, 3) as uint8.
            batch_size: images in a batch; on a CPU up to four batches are encoded at once.
            progress: called as progress(done, total) after every batch.

        Raises:
            DataError: naming the first image that cannot be read.
        """
        scores = [np.empty((0, len(self.classes)), dtype=np.float32)]
        for _, found in self.in_batches(images, self.ready_probabilities_of, batch_size, "raise", progress):
            if found is not None:
                scores.append(found)
        return np.concatenate(scores)

    def predict(
        self,
        images: ImageInput | Iterable[ImageInput],
        batch_size: int = 32,
        *,
        on_error: str = "raise",
        progress: Progress | None = None,
        workers: int | None = None,
    ) -> Prediction | list[Prediction]:
        """Labels, scores and decisions: one image gives one Prediction, several give a list in their order.

        Args:
            images: see `predict_proba`.
            batch_size: images in a batch; on a CPU up to four batches are encoded at once.
            on_error: "raise" stops at an image that cannot be read; "skip" puts a Prediction whose `error`
                says why in its place, so that the list has one entry for every image.
            progress: called as progress(done, total) after every batch.
            workers: threads that read images while others are encoded, by default one for each core.

        Raises:
            DataError: with "raise", naming the first image that cannot be read.
            ConfigError: for another `on_error`, or workers under 1.
        """
        predictions = self.iter_predictions(images, batch_size, on_error=on_error, progress=progress, workers=workers)
        return next(predictions) if is_single_image(images) else list(predictions)

    def iter_predictions(
        self,
        images: ImageInput | Iterable[ImageInput],
        batch_size: int = 32,
        *,
        on_error: str = "raise",
        progress: Progress | None = None,
        workers: int | None = None,
    ) -> Iterator[Prediction]:
        """Predictions in order as batches are done; see `predict`.

        Of an iterator one batch is held at a time, of a list up to six.
        """
        thresholds = self.threshold_values()
        found = self.in_batches(images, self.ready_probabilities_of, batch_size, on_error, progress, workers)
        for batch, probabilities in found:
            scores = iter(() if probabilities is None else probabilities)
            for path, error in zip(batch.paths, batch.errors, strict=True):
                if error is not None:
                    yield Prediction.unreadable(error, path=path)
                else:
                    yield Prediction.from_probabilities(self.classes, next(scores), thresholds, path=path)

    def in_batches(
        self,
        images: ImageInput | Iterable[ImageInput],
        ready: Callable[[], Callable[[Any], Any]],
        batch_size: int,
        on_error: str,
        progress: Progress | None,
        workers: int | None = None,
    ) -> Iterator[tuple[ImageBatch, Any]]:
        """Batches with what is computed of their pixels, None where none could be read.

        `ready` is called for every batch in the caller's thread and gives what to compute. `progress` hears of each
        batch once the caller is done with it. Of an iterator no image is taken before its batch is asked for; of a
        list, batches may be smaller than `batch_size`, so that the streams have about as much to do.
        """
        several: Iterable[ImageInput] = [images] if is_single_image(images) else images  # type: ignore[assignment]
        total = len(several) if isinstance(several, Sized) else None
        check_whole("batch_size", batch_size, 1)
        # Fewer images than this are quicker with all threads on one batch.
        alone = total is None or total < FEWEST_EACH * self.streams()
        if total and not alone:
            rounds = ceil(total / (batch_size * self.streams()))
            batch_size = min(batch_size, ceil(total / (rounds * self.streams())))
        batches = image_batches(
            several,
            self.preprocessing(),
            batch_size=batch_size,
            on_error=on_error,
            draft_size=DRAFT_OVERSAMPLING * self.image_size,
            workers=workers,
        )
        work = ((batch, ready()) for batch in batches)

        def result(work: tuple[ImageBatch, Callable[[Any], Any]]) -> Any:
            batch, compute = work
            return None if batch.pixels is None else compute(batch.pixels)

        run = in_turn if alone else self.compute_batches
        done = 0
        with closing(batches), closing(run(work, result)) as found:
            for (batch, _), computed in found:
                yield batch, computed
                done += len(batch.paths)
                if progress is not None:
                    progress(done, total)
