"""A method for images and files: fit, predict, explain, save and load, whatever turns regions into scores."""

import os
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dualcoop.backbones.base import Backbone
from dualcoop.backbones.loading.registry import place_backbone
from dualcoop.class_names import checked_classes
from dualcoop.counting import Progress
from dualcoop.data.images import MAX_BYTES, MAX_PIXELS
from dualcoop.errors import ConfigError, Option
from dualcoop.features.regions import RegionFeatures
from dualcoop.features.scoring import region_scores
from dualcoop.inference.images import Batch, ImageInput, Result, read_image
from dualcoop.inference.predictor import Predictor
from dualcoop.inference.side_by_side import side_by_side, streams
from dualcoop.inference.squash import DRAFT_OVERSAMPLING
from dualcoop.network import REGIONS, RegionClassifier
from dualcoop.saving.config import is_saved_model, plain
from dualcoop.saving.folder import load_model, save_model
from dualcoop.saving.hub import find_model, push_model

if TYPE_CHECKING:
    from typing_extensions import Self

    from dualcoop.export.onnx_file import ExportedTagger

Labelled = tuple[RegionFeatures, NDArray[np.int8]]
"""Features of n images, and their labels (n, M): +1 present, -1 absent, 0 unknown."""


class Method(RegionClassifier, Predictor):
    """What every method can do; how it learns (`fit`) and scores regions (`scores`) is its own.

    A method is made as `Class(backbone, classes, image_size=..., ...)`, or by the name of a backbone or a saved model
    with `from_pretrained`. See `RegionClassifier` for its attributes.
    """

    loading_options: ClassVar[tuple[str, ...]] = ()
    """Options of a new model that may also replace what a saved one has."""

    @abstractmethod
    def fit(self, features: RegionFeatures, labels: NDArray[np.int8], valid: Labelled | None = None) -> "Self":
        """Learn from region features and partial labels.

        Args:
            features: of n images, as `encode_images_once` gives them for this model.
            labels: (n, M), +1 present, -1 absent, 0 unknown; unknown ones have no part in anything.
            valid: features and labels of images held out for choices such as thresholds; never test images.

        Raises:
            DataError: when nothing can be learned from these labels.
            ConfigError: when features, labels and model do not fit each other, or the method needs held-out images
                and there are none.
        """

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str],
        classes: Sequence[str] | None = None,
        *,
        image_size: int | None = None,
        device: str | torch.device = "auto",
        backbone: Backbone | None = None,
        revision: str | None = None,
        token: str | None = None,
        **options: Any,
    ) -> "Self":
        """A saved model, or a new one over a backbone.

        Args:
            name_or_path: folder or hub repository ("owner/name") of a saved model of this method, or what
                `create_backbone` takes: "lite", "RN101", "hf-hub:...", a checkpoint file.
            classes: names of the new model; for a saved one, left out or exactly its own, and always left out
                for one on the hub.
            image_size: the backbone's own by default, or as saved.
            device: "auto", or a name that torch knows. With `backbone` given, "auto" leaves it where it is.
            backbone: use this one instead of loading by name; of a saved model it must be the very same.
            revision: of a hub repository.
            token: for a private hub repository.
            options: of the method's constructor; None stands for its default, or for what is saved.

        Raises:
            ConfigError: when a new model is asked for without classes, or options contradict each other.
            ModelError: when a saved model cannot be read or belongs to another method, backbone or other classes.
            BackboneError: when the backbone is unknown or cannot be loaded.
        """
        options = {name: value for name, value in options.items() if value is not None}
        if classes is None or is_saved_model(Path(name_or_path).expanduser()):
            folder = find_model(name_or_path, revision=revision, token=token)
            for name in options.keys() - set(cls.loading_options):
                what = f"{name_or_path} is a saved model with its own {name}"
                raise ConfigError(what, remedy=("leave ", Option(name), " out"))
            return load_model(folder, cls, classes, image_size=image_size, device=device, backbone=backbone, **options)
        names = checked_classes(classes)
        backbone = place_backbone(os.fspath(name_or_path), backbone, device)
        return cls(backbone, names, image_size=image_size, **options)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write tensors, config.json and a model card into a folder, which is made if need be.

        model.safetensors holds what was learned; with prompts, text_features.safetensors the text features that they
        lead to (float32, 4 D bytes a prompt), so that a loaded model predicts without running the text tower. The
        backbone is named, not copied, save for fine-tuned tensors (backbone.safetensors).

        Raises:
            ModelError: when the folder cannot be written or the training record holds no JSON values.
        """
        save_model(self, folder)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = False,
        token: str | None = None,
        commit_message: str = "Upload a DualCoOp model",
    ) -> str:
        """Save into a Hugging Face Hub repository, made if need be, and return its address.

        A backbone from a local checkpoint is named by its file alone, without folders.

        Raises:
            ModelError: when the hub refuses or cannot be reached.
        """
        return push_model(self, repo_id, private=private, token=token, commit_message=commit_message)

    def export_onnx(
        self,
        path: str | os.PathLike[str],
        *,
        quantize: str | None = None,
        calibration: Iterable[ImageInput] | None = None,
    ) -> "ExportedTagger":
        """Write one ONNX file, *.onnx, that `dualcoop.export.OnnxTagger` runs without torch.

        Arguments and errors are those of `dualcoop.export.export_onnx`: `quantize` "int8" takes 8-bit weights and
        activations for the image tower, whose range `calibration` images show.
        """
        from dualcoop.export.onnx_file import export_onnx

        return export_onnx(self, path, quantize=quantize, calibration=calibration)

    def encode_images(
        self,
        images: ImageInput | Iterable[ImageInput],
        batch_size: int = 32,
        progress: Progress | None = None,
        *,
        on_error: str = "raise",
        workers: int | None = None,
        max_pixels: int = MAX_PIXELS,
        max_bytes: int = MAX_BYTES,
    ) -> Tensor:
        """Region features of images, without gradients: (B, R, D) on the model's device.

        Args:
            images, batch_size, progress: see `predict_proba`.
            on_error: "raise" stops at an image that cannot be read; "skip" puts NaN into its place, so that there are
                features for every image.
            workers, max_pixels, max_bytes: see `predict_proba`.

        Raises:
            DataError, ConfigError: see `predict_proba`.
        """
        reading = {"on_error": on_error, "workers": workers, "max_pixels": max_pixels, "max_bytes": max_bytes}
        regions = [torch.empty(0, *self.region_shape, device=self.device)]
        for batch, found in self.in_batches(images, lambda: self._constant_regions, batch_size, progress, **reading):
            if found is None or not all(batch.readable):
                aligned = regions[0].new_full((len(batch.errors), *self.region_shape), torch.nan)
                if found is not None:
                    aligned[batch.readable] = found.to(aligned)
                found = aligned
            regions.append(found)
        return torch.cat(regions)

    def preprocessing(self) -> Callable[[Image.Image], Tensor]:
        """Transform from an RGB image to (3, S, S), the backbone's own."""
        return self.backbone.preprocess(self.image_size)

    def probabilities_of(self, pixels: Tensor) -> NDArray[np.float32]:
        """Probability of every class (Eq. 3), (B, M), of preprocessed images (B, 3, S, S)."""
        return self._scored(self.scores, self._constant_regions(pixels))

    def ready_probabilities_of(self) -> Callable[[Tensor], NDArray[np.float32]]:
        """`probabilities_of`, once what all batches need is there."""
        score = self.ready()
        return lambda pixels: self._scored(score, self._constant_regions(pixels))

    def streams(self) -> int:
        """Batches that are computed at a time: several on a CPU of several cores."""
        return streams(self.device)

    def compute_batches(
        self, batches: Iterable[Batch], compute: Callable[[Batch], Result]
    ) -> Generator[tuple[Batch, Result], None, None]:
        """Every batch with its result, in order; see `side_by_side`."""
        return side_by_side(batches, compute, self.device, self.backbone)

    def threshold_values(self) -> NDArray[np.float32]:
        """(M,): a class is present where its probability exceeds its threshold."""
        return self.thresholds.cpu().numpy()

    def explain(self, image: ImageInput, label: str) -> NDArray[np.float32]:
        """Weights of the grid's regions for one class (Eq. 5): (rows, columns), float32, summing to 1.

        The global region has no place in the image: it is left out and the weights of the others are
        renormalised.

        Raises:
            ModelError: for a label that is no class of this model, or a method that weighs no regions.
            DataError: when the image cannot be read.
        """
        indices = [self.class_index(label)]
        return self._maps(self._regions(self._pixels(image)), indices)[0]

    def explained(self, image: ImageInput, labels: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Probability of each of K labels, (K,), and its map as `explain` gives it, (K, rows, columns).

        The image is encoded once for all of them, and errors are those of `explain`.
        """
        indices = [self.class_index(label) for label in labels]
        pixels = self._pixels(image)
        regions = self._regions(pixels)
        encoded = regions if self.pooling == REGIONS else self._constant_regions(pixels)
        return self._scored(self.ready(), encoded)[0, indices], self._maps(regions, indices)

    def _pixels(self, image: ImageInput) -> Tensor:
        opened = read_image(image, draft_size=DRAFT_OVERSAMPLING * self.image_size)
        return self.preprocessing()(opened)[None].to(self.device)

    def _regions(self, pixels: Tensor) -> Tensor:
        with torch.no_grad():
            return self.backbone.encode_regions(pixels)

    def _maps(self, regions: Tensor, indices: Sequence[int]) -> NDArray[np.float32]:
        """(K, rows, columns) of regions (1, R, D), the global one first."""
        with torch.no_grad():
            weights = self.region_weights(regions[:, 1:], torch.tensor(indices, device=self.device))
        return weights[0].T.float().unflatten(1, self.backbone.grid_size(self.image_size)).cpu().numpy()

    def _constant_regions(self, pixels: Tensor) -> Tensor:
        with torch.no_grad():
            return self.encode_pixels(pixels.to(self.device))

    def _scored(self, score: Callable[[Tensor], Tensor], regions: Tensor) -> NDArray[np.float32]:
        # Autocast is for the encoder: a cosine needs more digits, and the head costs little.
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            return score(regions).float().cpu().numpy()

    def _record(
        self,
        labels: NDArray[np.int8],
        valid: Labelled | None,
        metrics: Mapping[str, Any] | None = None,
        **training: Any,
    ) -> None:
        """Note what was learned from, and what else is to be known of it: JSON values."""
        parts = [("train", labels), *([] if valid is None else [("valid", valid[1])])]
        data = {name: {"images": len(part), "known_labels": int(np.count_nonzero(part))} for name, part in parts}
        self.training_record = plain({"training": {**training, "data": data}, "metrics": metrics or {}})

    def _fit_thresholds(self, valid: Labelled) -> None:
        """Set per-class thresholds by images on which nothing was learned."""
        features, labels = valid
        if (labels > 0).any():
            from dualcoop.evaluation import class_thresholds

            self.set_thresholds(class_thresholds(region_scores(self, features), labels))
