"""Opening any image a user may have as upright RGB."""

import os
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from dualcoop.counting import counted
from dualcoop.errors import AnyOf, DataError, Only, Option, Text

MAX_PIXELS = 128_000_000
"""Largest image that is opened by default: 0.4 GB as RGB; a 108-megapixel phone image still fits."""

MAX_BYTES = 8 * MAX_PIXELS
"""Largest file, or encoded image, that is opened by default: as many pixels with 16 bits a channel, uncompressed."""

BACKGROUND = (255, 255, 255, 255)
"""What shows through the transparent parts of an image."""

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each EXIF orientation. ImageOps.exif_transpose also rewrites the block, which may fail."""

MOST_WORKERS = 8
HEIF_OPENER = "install pillow-heif and call pillow_heif.register_heif_opener()"
DAMAGED_REMEDY = "Copy or download it again, or leave it out"


class ImageError(DataError):
    """One image that cannot be used.

    Attributes:
        path: the file; None for an image that was given as bytes or pixels.
        reason: what is wrong with it.
        remedy: what to do about it.
    """

    def __init__(self, path: str | os.PathLike[str] | None, reason: Text, remedy: Text) -> None:
        super().__init__(reason, where=None if path is None else os.fspath(path), remedy=remedy)
        self.path = None if path is None else Path(path)
        self.reason = reason
        self.remedy = remedy

    def __reduce__(self) -> tuple[Any, ...]:
        return ImageError, (self.path, self.reason, self.remedy)


def open_image(
    image: str | os.PathLike[str] | bytes | Image.Image,
    *,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_BYTES,
    draft_size: int | tuple[int, int] | None = None,
) -> Image.Image:
    """Open one image as RGB, upright.

    The EXIF rotation is applied; CMYK, palette, grey, 16-bit and floating point images become 8-bit RGB;
    transparent parts are laid on white; the first frame of an animation is taken.

    Args:
        image: a file's path, a file's content, or a PIL image, which stays as it is.
        max_pixels: width times height above which the image is refused before any pixel is decoded.
        max_bytes: size of a file, or of its content, above which it is refused before it is opened.
        draft_size: side, or (width, height), that will be needed. A JPEG may then be decoded at 1/2, 1/4 or 1/8 of its
            size, never under what is asked for, which is several times faster; other formats and PIL images ignore it.

    Returns:
        A PIL image of mode "RGB" that no longer depends on the file.

    Raises:
        ImageError: (a DataError) when the file is missing, empty, truncated, too large or no image; the message names
            it and says what to do.
    """
    path = None if isinstance(image, bytes | Image.Image) else Path(image)
    if path is not None:
        check_file(path, max_bytes)
    elif isinstance(image, bytes):
        _check_bytes(path, len(image), max_bytes)
    try:
        if isinstance(image, Image.Image):
            check_pixels(path, image.size, max_pixels)
            return to_rgb(image)
        with Image.open(BytesIO(image) if isinstance(image, bytes) else image) as opened:
            check_pixels(path, opened.size, max_pixels)
            if draft_size is not None:
                opened.draft("RGB", (draft_size, draft_size) if isinstance(draft_size, int) else draft_size)
            opened.load()
            return to_rgb(opened)
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        reason = f"the image is too large to be decoded safely ({str(error).rstrip('.')})"
        in_python = Only("python", "raise PIL.Image.MAX_IMAGE_PIXELS and max_pixels")
        raise ImageError(path, reason, AnyOf("Scale it down", in_python)) from error
    except UnidentifiedImageError as error:
        raise ImageError(path, *_not_an_image(path, image)) from error
    except MemoryError as error:
        raise ImageError(path, "there is not enough memory to decode the image", "Scale it down") from error
    # Pillow's decoders raise whatever their parsers meet in a broken file: OSError for a truncated JPEG,
    # SyntaxError for a PNG, struct.error, ValueError, IndexError and others.
    except Exception as error:
        raise ImageError(path, f"the image is truncated or damaged ({error})", DAMAGED_REMEDY) from error


def default_workers() -> int:
    """Threads that read images: one for each core that the process may use, at most 8."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(usable or 1, MOST_WORKERS)


def to_rgb(image: Image.Image) -> Image.Image:
    """Turn any PIL image into an upright 8-bit RGB one, as `open_image` does; the argument stays as it is.

    Raises:
        DataError: when the image has a mode that Pillow cannot turn into RGB.
    """
    try:
        rgb = _without_alpha(image)
    except ValueError as error:
        what = f"an image of mode {image.mode!r} cannot be turned into RGB ({error})"
        raise DataError(what, remedy="save it as JPEG or PNG") from error
    turn = UPRIGHT.get(_orientation(image))
    if turn is not None:
        rgb = rgb.transpose(turn)
    # Without its EXIF block the result is not turned a second time by whoever opens it next.
    rgb.info = {}
    return rgb


def _without_alpha(image: Image.Image) -> Image.Image:
    """As a new RGB image; Pillow's `convert` copies what is RGB already."""
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_eight_bits(image)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, BACKGROUND), image).convert("RGB")
    return image.convert("RGB")


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    # A damaged EXIF block must not cost an image whose pixels are intact; it then stays as stored.
    except Exception:
        return 1


def _eight_bits(image: Image.Image) -> np.ndarray:
    """Grey values of a 16-bit, 32-bit or floating point image, scaled to uint8 (H, W)."""
    values = np.asarray(image).astype(np.float64)
    if image.mode.startswith("I;16"):
        top = 65535.0
    else:
        # Modes I and F do not say how many bits are meant: take the smallest usual range that holds the values.
        values = np.nan_to_num(values)
        values = values - min(values.min(), 0.0)
        highest = float(values.max())
        usual = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
        top = next((limit for limit in usual if highest <= limit), highest)
    return (values / top * 255.0).round().astype(np.uint8)


def check_file(path: Path, max_bytes: int = MAX_BYTES) -> None:
    """Name the plain reasons for which a file cannot be opened, without decoding it.

    Raises:
        ImageError: when the path is missing, a folder, empty, unreadable or too large.
    """
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise ImageError(path, "the file is missing", "Check the name and the folder") from error
    except (OSError, ValueError) as error:
        raise ImageError(path, f"the file cannot be reached ({error})", "Check the name") from error
    if path.is_dir():
        raise ImageError(path, "this is a folder, not an image", "Give the images in it")
    if not os.access(path, os.R_OK):
        raise ImageError(path, "there is no permission to read the file", "Change its permissions")
    _check_bytes(path, size, max_bytes)


def _check_bytes(path: Path | None, size: int, most: int) -> None:
    if size == 0:
        raise ImageError(path, "the file is empty (0 bytes)", DAMAGED_REMEDY)
    if size > most:
        reason = f"the file has {counted(size, 'byte')}, over the limit of {most:,}"
        raise ImageError(path, reason, AnyOf("Scale it down", ("allow it with ", Option("max_bytes", size))))


def check_pixels(path: Path | None, size: tuple[int, int], most: int) -> None:
    """Raise ImageError for an image of a width and height that make more than so many pixels."""
    width, height = size
    if width * height > most:
        reason = f"the image is {width} x {height} = {width * height:,} pixels, over the limit of {most:,}"
        remedy = AnyOf("Scale it down", ("allow it with ", Option("max_pixels", width * height)))
        raise ImageError(path, reason, remedy)


def _not_an_image(path: Path | None, image: object) -> tuple[str, Text]:
    """Reason and remedy for a file, or its content, that Pillow did not recognise, as far as its beginning tells."""
    if path is None:
        start = image[:64] if isinstance(image, bytes) else b""
        # Where HEIC and AVIF files say what they are.
        suffix = f".{start[8:12].decode('ascii', 'replace')}"
    else:
        suffix = path.suffix.lower()
        with path.open("rb") as file:
            start = file.read(64)
    if start.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "this is a web page saved under an image's name", "Download the image itself"
    if suffix in {".heic", ".heif", ".avif"}:
        return f"{suffix} images cannot be read here", AnyOf("Convert it to JPEG", Only("python", HEIF_OPENER))
    return "this is not an image that Pillow can read", "Convert it to JPEG or PNG, or leave it out"
