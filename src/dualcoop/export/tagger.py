"""An exported file at work: ONNX Runtime or OpenVINO, NumPy and Pillow, no torch."""

import os
from collections.abc import Callable, Mapping, Sequence
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
from dualcoop.inference.prediction import updated_thresholds
from dualcoop.inference.predictor import Predictor
from dualcoop.inference.squash import squash

SUFFIX = ".onnx"


def is_exported(name: str | os.PathLike[str]) -> bool:
    """Whether this names an exported file rather than a folder or a repository."""
    return Path(name).suffix.lower() == SUFFIX


class OnnxTagger(Predictor):
    """What `dualcoop export` wrote, ready to tag images as the model it came from would.

    `predict`, `predict_proba` and `iter_predictions` are those of `DualCoOp`.

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
        path = Path(path).expanduser()
        if not path.is_file():
            raise ModelError(f"{path}: the file is missing. Write it with `dualcoop export MODEL --output {path.name}`")
        self._run: Run
        self._run, properties = open_graph(path, device=device, precision=precision, threads=threads)
        self.description = TaggerDescription.from_properties(properties, str(path))
        self.classes = self.description.classes
        self.image_size = self.description.image_size
        self.thresholds = np.array(self.description.thresholds, dtype=np.float32)

    def class_index(self, label: str) -> int:
        """Position of a class; underscores and white space do not matter.

        Raises:
            ModelError: for a label that is no class of this model, with the nearest names.
        """
        return class_index(self.classes, label)

    def set_thresholds(self, thresholds: float | Sequence[float] | NDArray[Any] | Mapping[str, float]) -> None:
        """Set the probabilities above which classes count as present; the file stays as it is.

        Args:
            thresholds: one for all classes, one for each (M,), or a mapping that sets the named classes only.

        Raises:
            ConfigError: for a wrong number of them, or values that are not finite.
            ModelError: for a name that is no class of this model.
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
            raise ConfigError(f"pixels are {pixels.dtype} {pixels.shape}, expected uint8 (B, {side}, {side}, 3)")
        return self._run(pixels)

    def threshold_values(self) -> NDArray[np.float32]:
        """(M,): a class is present where its probability exceeds its threshold."""
        return self.thresholds
