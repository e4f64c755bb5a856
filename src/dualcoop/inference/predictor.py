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
from dualcoop.counting import Progress
from dualcoop.data.images import MAX_BYTES, MAX_PIXELS
from dualcoop.inference.images import Batch, ImageBatch, ImageInput, Result, image_batches, is_single_image, one_by_one
from dualcoop.inference.prediction import Prediction, Thresholds, updated_thresholds
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
        return one_by_one(batches, compute)

    def predict_proba(
        self,
        images: ImageInput | Iterable[ImageInput],
        batch_size: int = 32,
        progress: Progress | None = None,
        *,
        on_error: str = "raise",
        workers: int | None = None,
        max_pixels: int = MAX_PIXELS,
        max_bytes: int = MAX_BYTES,
    ) -> NDArray[np.float32]:
        """Probability of every class (Eq. 3): (B, M), float32; one image gives (1, M).

        Args:
            images: one or many of: a path, the content of an image file as bytes, a PIL image, RGB pixels (H, W, 3)
                as uint8.
            batch_size: images in a batch; on a CPU up to four batches are encoded at once.
            progress: called as progress(done, total) after every batch.
            on_error: "raise" stops at an image that cannot be read; "skip" puts NaN into its row, so that there is a
                row for every image.
            workers: threads that read images while others are encoded, by default one for each core.
            max_pixels: width times height above which an image counts as one that cannot be read.
            max_bytes: likewise of a file, or of its content.

        Raises:
            DataError: with "raise", naming the first image that cannot be read.
            ConfigError: for another `on_error`, or a batch size or workers under 1.
        """
        reading = {"on_error": on_error, "workers": workers, "max_pixels": max_pixels, "max_bytes": max_bytes}
        scores = [np.empty((0, len(self.classes)), dtype=np.float32)]
        for batch, found in self.in_batches(images, self.ready_probabilities_of, batch_size, progress, **reading):
            rows = np.full((len(batch.errors), len(self.classes)), np.nan, dtype=np.float32)
            if found is not None:
                rows[batch.readable] = found
            scores.append(rows)
        return np.concatenate(scores)

    def predict(
        self,
        images: ImageInput | Iterable[ImageInput],
        batch_size: int = 32,
        *,
        thresholds: Thresholds | None = None,
        on_error: str = "raise",
        progress: Progress | None = None,
        workers: int | None = None,
        max_pixels: int = MAX_PIXELS,
        max_bytes: int = MAX_BYTES,
    ) -> Prediction | list[Prediction]:
        """Labels, scores and decisions: one image gives one Prediction, several give a list in their order.

        Args:
            images, batch_size: see `predict_proba`.
            thresholds: for this call, in the place of the model's: one for all classes, one for each (M,), or a
                mapping that sets the named classes only.
            on_error: "raise" stops at an image that cannot be read; "skip" puts a Prediction whose `error`
                says why in its place, so that the list has one entry for every image.
            progress, workers, max_pixels, max_bytes: see `predict_proba`.

        Raises:
            DataError, ConfigError: see `predict_proba`; ConfigError for thresholds that make no sense, too.
            ModelError: for thresholds of a name that is no class of this model.
        """
        reading: dict[str, Any] = {"on_error": on_error, "workers": workers}
        reading |= {"max_pixels": max_pixels, "max_bytes": max_bytes, "thresholds": thresholds, "progress": progress}
        predictions = list(self.iter_predictions(images, batch_size, **reading))
        return predictions[0] if is_single_image(images) else predictions

    def iter_predictions(
        self,
        images: ImageInput | Iterable[ImageInput],
        batch_size: int = 32,
        *,
        thresholds: Thresholds | None = None,
        on_error: str = "raise",
        progress: Progress | None = None,
        workers: int | None = None,
        max_pixels: int = MAX_PIXELS,
        max_bytes: int = MAX_BYTES,
    ) -> Iterator[Prediction]:
        """Predictions in order as batches are done; see `predict`.

        Of an iterator one batch is held at a time, of a list up to six.
        """
        limits = updated_thresholds(self.classes, self.threshold_values(), thresholds)
        reading = {"on_error": on_error, "workers": workers, "max_pixels": max_pixels, "max_bytes": max_bytes}
        found = self.in_batches(images, self.ready_probabilities_of, batch_size, progress, **reading)
        for batch, probabilities in found:
            scores = iter(() if probabilities is None else probabilities)
            for path, error in zip(batch.paths, batch.errors, strict=True):
                if error is not None:
                    yield Prediction.unreadable(error, path=path)
                else:
                    yield Prediction.from_probabilities(self.classes, next(scores), limits, path=path)

    def in_batches(
        self,
        images: ImageInput | Iterable[ImageInput],
        ready: Callable[[], Callable[[Any], Any]],
        batch_size: int,
        progress: Progress | None,
        **reading: Any,
    ) -> Iterator[tuple[ImageBatch, Any]]:
        """Batches with what is computed of their pixels, None where none could be read.

        `ready` is called for every batch in the caller's thread and gives what to compute. `progress` hears of each
        batch once the caller is done with it; `reading` are arguments of `image_batches`. Of an iterator no image is
        taken before its batch is asked for; of a list, batches may be smaller than `batch_size`, so that the streams
        have about as much to do.
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
            draft_size=DRAFT_OVERSAMPLING * self.image_size,
            **reading,
        )
        work = ((batch, ready()) for batch in batches)

        def result(work: tuple[ImageBatch, Callable[[Any], Any]]) -> Any:
            batch, compute = work
            return None if batch.pixels is None else compute(batch.pixels)

        run = one_by_one if alone else self.compute_batches
        done = 0
        with closing(batches), closing(run(work, result)) as found:
            for (batch, _), computed in found:
                yield batch, computed
                done += len(batch.paths)
                if progress is not None:
                    progress(done, total)
