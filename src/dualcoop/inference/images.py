"""Images in any form a user may have them, as batches of tensors or arrays; needs no torch for arrays."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, TypeGuard, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dualcoop.checks import check_whole
from dualcoop.data.images import MAX_BYTES, MAX_PIXELS, check_pixels, default_workers, open_image
from dualcoop.errors import ConfigError, DataError, Message

if TYPE_CHECKING:
    from torch import Tensor

ImageInput: TypeAlias = str | os.PathLike[str] | bytes | Image.Image | np.ndarray[Any, Any]
"""A path, the content of an image file, a PIL image of any mode, or RGB pixels (H, W, 3), uint8."""

Batch = TypeVar("Batch")
Result = TypeVar("Result")

ON_ERROR = ("raise", "skip")
# Batches of a list that are read while an earlier one is computed with.
READ_AHEAD = 1


class ImageBatch(NamedTuple):
    """Some images in the order given.

    Attributes:
        paths: of each image, None where it was given in another form.
        errors: why an image could not be read, None for those that could.
        pixels: those that could be read, preprocessed and stacked: a tensor (B, 3, S, S), or an array where
            `preprocess` gives arrays; None when there are none.
    """

    paths: list[Path | None]
    errors: list[Message | None]
    pixels: Any

    @property
    def readable(self) -> list[bool]:
        """Whether each image could be read."""
        return [error is None for error in self.errors]


@runtime_checkable
class WritesInPlace(Protocol):
    """A transform that writes pixels where the batch has its place for them, which saves copying every image.

    Batches are then filled by `write` alone; to call it is the same as to write to a place of its own.
    """

    def room(self, count: int) -> NDArray[np.float32]:
        """For so many images: (count, S, S, 3)."""

    def write(self, image: Image.Image, place: NDArray[np.float32]) -> None:
        """Write one image to (S, S, 3)."""


def is_single_image(images: object) -> TypeGuard[ImageInput]:
    """Whether this is one image rather than many."""
    if isinstance(images, np.ndarray):
        return images.ndim < 4 and images.dtype.kind not in "OU"
    return isinstance(images, str | os.PathLike | bytes | Image.Image)


def read_image(
    image: ImageInput, *, draft_size: int | None = None, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES
) -> Image.Image:
    """One image as an upright RGB image.

    Args:
        image: path, content of a file, PIL image or uint8 array (H, W, 3).
        draft_size: side that will be needed, pixels; a JPEG may be decoded smaller, never under it.
        max_pixels: width times height above which an image is refused before it is decoded.
        max_bytes: size above which a file, or its content, is refused.

    Raises:
        DataError: when it cannot be read, is over a limit, or is something else.
    """
    if isinstance(image, str | os.PathLike | bytes | Image.Image):
        return open_image(image, draft_size=draft_size, max_pixels=max_pixels, max_bytes=max_bytes)
    if not isinstance(image, np.ndarray):
        raise DataError(f"an image is {_kind(image)}, expected a path, bytes, a PIL image or a uint8 array (H, W, 3)")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        expected = "RGB pixels (height, width, 3) as uint8 in 0 to 255"
        raise DataError(f"an image is an array of shape {image.shape} and dtype {image.dtype}, expected {expected}")
    check_pixels(None, (image.shape[1], image.shape[0]), max_pixels)
    return Image.fromarray(image)


def _kind(value: object) -> str:
    return "of type " + f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def image_batches(
    images: Iterable[ImageInput],
    preprocess: Callable[[Image.Image], Any],
    *,
    batch_size: int,
    on_error: str = "raise",
    draft_size: int | None = None,
    in_order: bool = False,
    workers: int | None = None,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_BYTES,
) -> Generator[ImageBatch, None, None]:
    """Read images batch by batch, so that any number of them fits into memory.

    Threads read them: of a list also the batch after the one that is asked for, so that reading goes on while the
    caller computes. Of an iterator no image is taken before its batch is asked for. The threads end with the
    generator, whether it is exhausted, closed or left by an exception.

    Args:
        images: see `ImageInput`.
        preprocess: RGB image to a tensor (3, S, S), or to an array; see also `WritesInPlace`.
        batch_size: images read and stacked together.
        on_error: "raise" stops at the first image that cannot be read; "skip" notes why and goes on.
        draft_size: see `read_image`.
        in_order: call `preprocess` in the caller's thread and the images' order, as random transforms need it;
            the threads then only decode.
        workers: threads, by default one for each core that the process may use, at most 8.
        max_pixels, max_bytes: see `read_image`.

    Raises:
        ConfigError: for a batch size or workers under 1 or another `on_error`.
        DataError: with "raise", for an image that cannot be read.
    """
    workers = default_workers() if workers is None else workers
    check_whole("batch_size", batch_size, 1)
    check_whole("workers", workers, 1)
    if on_error not in ON_ERROR:
        raise ConfigError(f"is {on_error!r}, expected one of {', '.join(ON_ERROR)}", option="on_error")
    try:
        remaining = iter(images)
    except TypeError as error:
        raise DataError(f"images are {_kind(images)}, expected one image or several") from error
    ahead = READ_AHEAD if isinstance(images, Sized) else 0
    in_place = preprocess if isinstance(preprocess, WritesInPlace) and not in_order else None

    def read(image: ImageInput, place: NDArray[np.float32] | None) -> Any:
        image = read_image(image, draft_size=draft_size, max_pixels=max_pixels, max_bytes=max_bytes)
        if in_place is None or place is None:
            return image if in_order else preprocess(image)
        return in_place.write(image, place)

    pool = ThreadPoolExecutor(workers, thread_name_prefix="dualcoop-read")
    started: deque[tuple[list[ImageInput], list[Future[Any]], NDArray[np.float32] | None]] = deque()
    try:
        while True:
            while len(started) <= ahead and (batch := list(islice(remaining, batch_size))):
                room = None if in_place is None else in_place.room(len(batch))
                places = [None] * len(batch) if room is None else room
                started.append((batch, [pool.submit(read, *each) for each in zip(batch, places, strict=True)], room))
            if not started:
                return
            batch, reading, room = started.popleft()
            errors: list[Message | None] = []
            pixels: list[Any] = []
            for future in reading:
                try:
                    found = future.result()
                    pixels.append(preprocess(found) if in_order else found)
                    errors.append(None)
                except DataError as error:
                    if on_error == "raise":
                        raise
                    errors.append(error.message)
            paths = [Path(p) if isinstance(p, str | os.PathLike) else None for p in batch]
            stack = None
            if pixels:
                stack = _stacked(pixels) if room is None else _channels_first(room, errors)
            yield ImageBatch(paths, errors, stack)
    finally:
        pool.shutdown(cancel_futures=True)


def one_by_one(
    batches: Iterable[Batch], compute: Callable[[Batch], Result]
) -> Generator[tuple[Batch, Result], None, None]:
    """Every batch with its result, one after the other."""
    for batch in batches:
        yield batch, compute(batch)


def _channels_first(room: NDArray[np.float32], errors: Sequence[Message | None]) -> "Tensor":
    """What was written to (b, S, S, 3) for the B images without an error, as (B, 3, S, S)."""
    import torch

    readable = [error is None for error in errors]
    return torch.from_numpy(room if all(readable) else room[readable]).movedim(-1, -3)


def _stacked(pixels: list[Any]) -> Any:
    """Arrays as one; tensors (..., 3, S, S) as (B, ..., 3, S, S), channels last in memory as fast convolutions want."""
    if isinstance(pixels[0], np.ndarray):
        return np.stack(pixels)
    import torch

    return torch.stack([each.movedim(-3, -1) for each in pixels]).movedim(-1, -3)
