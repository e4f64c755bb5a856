"""An exported file at work: ONNX Runtime or OpenVINO, NumPy and Pillow, no torch."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dualcoop.class_names import class_index
from dualcoop.errors import ConfigError, ModelError
from dualcoop.export.description import TaggerDescription
from dualcoop.export.runtimes import Run, open_graph
from dualcoop.inference.prediction import Thresholds, updated_thresholds
from dualcoop.inference.predictor import Predictor
from dualcoop.inference.squash import squash

SUFFIX = ".onnx"


def is_exported(name: str | os.PathLike[str]) -> bool:
    """Whether this names an exported file rather than a folder or a repository."""
    return Path(name).suffix.lower() == SUFFIX


class OnnxTagger(Predictor):
    """What `dualcoop export` wrote, ready to tag images as the model it came from would.

    `predict`, `predict_proba` and `iter_predictions` are those of `DualCoOp`; any number of threads may call them. A
    pickle names the file, which has to be there unchanged where it is loaded.

    Attributes:
        description: what the file says about itself.
        classes: M names.
        thresholds: (M,), float32; a class is present where its probability exceeds its threshold.
        image_size: side of the square input, pixels.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        device: str = "auto",
        precision: str = "float32",
        threads: int | None = None,
    ) -> None:
        """Open an exported file.

        Args:
            path: of the file.
            device: "auto", "cpu" or "cuda"; auto takes CUDA where ONNX Runtime has it.
            precision: "float32" computes as the file says, with ONNX Runtime; "bfloat16" computes in half the
                width, with OpenVINO, which pays on processors with AMX or AVX-512 for it.
            threads: of the computation, by default one for each core.

        Raises:
            ModelError: when the file is missing, damaged, or not from `dualcoop export`.
            ConfigError: for a package that is not installed, or a device or precision that it does not have.
        """
        self._path = Path(path).expanduser()
        self._options: dict[str, Any] = {"device": device, "precision": precision, "threads": threads}
        self.description = self._opened()
        self.classes = self.description.classes
        self.image_size = self.description.image_size
        self.thresholds = np.array(self.description.thresholds, dtype=np.float32)

    def _opened(self) -> TaggerDescription:
        path = self._path
        if not path.is_file():
            remedy = f"write it with `dualcoop export MODEL --output {path.name}`"
            raise ModelError("the file is missing", where=str(path), remedy=remedy)
        self._run: Run
        self._run, properties = open_graph(path, **self._options)
        self._path = path.absolute()
        return TaggerDescription.from_properties(properties, str(path))

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the opened file, which is named and opened again."""
        return {name: value for name, value in self.__dict__.items() if name != "_run"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._opened() != self.description:
            raise ModelError("the file is not the one that this tagger was opened from", where=str(self._path))

    def class_index(self, label: str) -> int:
        """Position of a class; arguments and errors are those of `DualCoOp.class_index`."""
        return class_index(self.classes, label)

    def set_thresholds(self, thresholds: Thresholds) -> None:
        """Set the probabilities above which classes count as present, as `DualCoOp.set_thresholds` does.

        The file stays as it is.
        """
        self.thresholds = updated_thresholds(self.classes, self.thresholds, thresholds)

    def preprocessing(self) -> Callable[[Image.Image], NDArray[np.uint8]]:
        """Transform from an RGB image to (S, S, 3), uint8; the graph normalises."""
        return partial(squash, size=self.image_size, interpolation=self.description.interpolation)

    def probabilities_of(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probability of every class (Eq. 3), (B, M), of squashed images (B, S, S, 3), uint8.

        Raises:
            ConfigError: for pixels of another shape or type.
        """
        side = self.image_size
        if pixels.ndim != 4 or pixels.shape[1:] != (side, side, 3) or pixels.dtype != np.uint8:
            expected = f"uint8 (B, {side}, {side}, 3)"
            raise ConfigError(f"are {pixels.dtype} {pixels.shape}, expected {expected}", option="pixels")
        return self._run(pixels)

    def threshold_values(self) -> NDArray[np.float32]:
        """(M,): a class is present where its probability exceeds its threshold."""
        return self.thresholds
