"""Partial-label masks: which (image, class) labels a training run may see."""

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dualcoop.data.labels import LabelledImages
from dualcoop.errors import ConfigError, DataError, Only
from dualcoop.files import write_together

FORMAT_VERSION = 1


def label_draws(names: Sequence[str], classes: Sequence[str], seed: int) -> npt.NDArray[np.float64]:
    """One uniform number in [0, 1) for every (image, class), (N, M).

    Each class has its own PCG64 generator, seeded by `seed` and its name, and deals to the images in the
    order of their names. The numbers of a class therefore do not depend on the other classes, on the order of
    classes or rows, or on the fraction that is kept.

    Raises:
        DataError: when two images have the same name.
    """
    if len(set(names)) < len(names):
        raise DataError("two images have the same name, so their labels cannot be told apart. Name each once.")
    order = sorted(range(len(names)), key=names.__getitem__)
    draws = np.empty((len(names), len(classes)))
    for column, name in enumerate(classes):
        digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
        sequence = np.random.SeedSequence([seed, *np.frombuffer(digest, dtype="<u4").tolist()])
        draws[order, column] = np.random.Generator(np.random.PCG64(sequence)).random(len(names))
    return draws


def partial_label_mask(data: LabelledImages, known_fraction: float, seed: int = 0) -> "LabelMask":
    """Keep each label with probability `known_fraction`, independently, present and absent ones alike.

    A larger fraction with the same seed keeps all that a smaller one does, and more.

    Args:
        data: the images with all their labels.
        known_fraction: p, over 0 and at most 1.
        seed: not negative.

    Raises:
        ConfigError: for a fraction or seed outside its range.
        DataError: when two images have the same name.
    """
    if not 0 < known_fraction <= 1:
        what = f"is {known_fraction}, expected a number over 0 and at most 1, such as 0.1"
        raise ConfigError(what, option="known_fraction")
    if seed < 0:
        raise ConfigError(f"is {seed}, expected 0 or more", option="seed")
    keep = label_draws(data.names, data.classes, seed) < known_fraction
    return LabelMask(keep, float(known_fraction), int(seed), data.fingerprint())


@dataclass(frozen=True, eq=False)
class LabelMask:
    """A drawn mask; it belongs to one set of images, classes and labels.

    Attributes:
        keep: bool (N, M), True where a known label may be seen.
        known_fraction: probability with which each was kept.
        seed: of the draw.
        fingerprint: of the data that it was drawn for (`LabelledImages.fingerprint`).
    """

    keep: npt.NDArray[np.bool_]
    known_fraction: float
    seed: int
    fingerprint: str

    def apply(self, data: LabelledImages) -> LabelledImages:
        """The data with all other labels unknown.

        Raises:
            DataError: when the mask was drawn for other data.
        """
        if self.keep.shape != data.labels.shape or self.fingerprint != data.fingerprint():
            images, classes = self.keep.shape
            what = (
                f"the mask ({images} images x {classes} classes, data {self.fingerprint[:12]}) was drawn for other data"
            )
            these = f"than these ({len(data)} x {len(data.classes)}, data {data.fingerprint()[:12]})"
            remedy = ("load the data as they were then, or draw a new mask", Only("python", " (partial_label_mask)"))
            same = "images, classes, labels and their order must be the same"
            raise DataError(f"{what} {these}: {same}", remedy=remedy)
        return data.with_labels(np.where(self.keep, data.labels, np.int8(0)))

    def save(self, path: str | Path) -> tuple[Path, Path]:
        """Write `<path>.npz` (one bit for each label) and `<path>.json` (what it is); `path` may end in .npz.

        Returns:
            Both paths.
        """
        array_file, text_file = _files(path)
        bits = np.packbits(self.keep)
        archive = io.BytesIO()
        np.savez_compressed(archive, bits=bits)
        description = {
            "format": "dualcoop partial-label mask",
            "version": FORMAT_VERSION,
            "known_fraction": self.known_fraction,
            "seed": self.seed,
            "images": self.keep.shape[0],
            "classes": self.keep.shape[1],
            "kept": int(self.keep.sum()),
            "data_fingerprint": self.fingerprint,
            "bits_sha256": hashlib.sha256(bits.tobytes()).hexdigest(),
        }
        text = (json.dumps(description, indent=2) + "\n").encode()
        write_together(array_file.parent, {array_file.name: archive.getvalue(), text_file.name: text})
        return array_file, text_file

    @classmethod
    def load(cls, path: str | Path) -> "LabelMask":
        """Read a saved mask; `apply` checks that it belongs to the data.

        Raises:
            DataError: when a file is missing, damaged, or the two do not belong together.
        """
        array_file, text_file = _files(path)
        for file in (array_file, text_file):
            if not file.is_file():
                raise DataError(f"{file}: the file of the mask is missing. A mask is a .npz and a .json beside it.")
        try:
            description = json.loads(text_file.read_text("utf-8"))
            shape = (int(description["images"]), int(description["classes"]))
            fraction, seed = float(description["known_fraction"]), int(description["seed"])
            fingerprint, checksum = str(description["data_fingerprint"]), str(description["bits_sha256"])
            version = description["version"]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{text_file}: this does not describe a mask ({error!r}). Draw the mask again.") from error
        if version != FORMAT_VERSION:
            what = f"the mask has format version {version}, this release reads {FORMAT_VERSION}"
            raise DataError(what, where=str(text_file), remedy="update dualcoop, or draw the mask again")
        try:
            with np.load(array_file, allow_pickle=False) as arrays:
                bits = arrays["bits"]
        # A damaged archive raises what zipfile, zlib and NumPy's header parser meet in it.
        except Exception as error:
            raise DataError(f"{array_file}: the mask cannot be read ({error}). Draw the mask again.") from error
        size = shape[0] * shape[1]
        fits = bits.dtype == np.uint8 and bits.shape == (-(-size // 8),)
        if not fits or hashlib.sha256(bits.tobytes()).hexdigest() != checksum:
            raise DataError(f"{array_file}: it does not belong to {text_file}. Copy both files of one mask together.")
        return cls(np.unpackbits(bits, count=size).reshape(shape).astype(np.bool_), fraction, seed, fingerprint)


def _files(path: str | Path) -> tuple[Path, Path]:
    stem = str(path).removesuffix(".npz")
    return Path(stem + ".npz"), Path(stem + ".json")
