"""DualCoOp for images and files: predict, explain, carry over to other names, save and load."""

import copy
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dualcoop.backbones.base import Backbone
from dualcoop.backbones.loading.registry import place_backbone
from dualcoop.class_names import checked_classes, normalise_name
from dualcoop.errors import ConfigError
from dualcoop.functional import probabilities, region_weights
from dualcoop.inference.images import Batch, ImageInput, Progress, Result, read_image
from dualcoop.inference.predictor import Predictor
from dualcoop.inference.side_by_side import side_by_side, streams
from dualcoop.inference.squash import DRAFT_OVERSAMPLING
from dualcoop.methods.zero_shot import zero_shot_logit_scale, zero_shot_prompts
from dualcoop.network import DualCoOpNetwork
from dualcoop.prompts import PromptConfig, TemplateConfig
from dualcoop.saving.config import is_saved_model

if TYPE_CHECKING:
    from dualcoop.export.onnx_file import ExportedTagger


class DualCoOp(DualCoOpNetwork, Predictor):
    """Multi-label recognition with dual prompts over a frozen backbone (section 3 of the paper).

    Attributes and construction from parts are those of `DualCoOpNetwork`; `from_pretrained` goes by name, and
    `zero_shot` needs no training.
    """

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str],
        classes: Sequence[str] | None = None,
        *,
        prompts: PromptConfig | TemplateConfig | None = None,
        aggregation: str | None = None,
        image_size: int | None = None,
        device: str | torch.device = "auto",
        backbone: Backbone | None = None,
        revision: str | None = None,
        token: str | None = None,
    ) -> "DualCoOp":
        """A saved model, or a new one over a backbone.

        Args:
            name_or_path: folder or hub repository ("owner/name") of a saved model, or what `create_backbone`
                takes: "lite", "RN101", "hf-hub:...", a checkpoint file.
            classes: names of the new model; for a saved one, left out or exactly its own, and always left out
                for one on the hub.
            prompts: of a new model, PromptConfig() by default; a saved one has its own.
            aggregation: "softmax" by default, or as saved.
            image_size: the backbone's own by default, or as saved.
            device: "auto", or a name that torch knows. With `backbone` given, "auto" leaves it where it is.
            backbone: use this one instead of loading by name; of a saved model it must be the very same.
            revision: of a hub repository.
            token: for a private hub repository.

        Raises:
            ConfigError: when a new model is asked for without classes, or options contradict each other.
            ModelError: when a saved model cannot be read or belongs to another backbone or other classes.
            BackboneError: when the backbone is unknown or cannot be loaded.
        """
        from dualcoop.saving.folder import load_model
        from dualcoop.saving.hub import find_model

        if classes is None or is_saved_model(Path(name_or_path).expanduser()):
            folder = find_model(name_or_path, revision=revision, token=token)
            if prompts is not None:
                raise ConfigError(f"{name_or_path} is a saved model with its own prompts; leave prompts out")
            return load_model(
                folder,
                classes,
                aggregation=aggregation,
                image_size=image_size,
                device=device,
                backbone=backbone,
            )
        names = checked_classes(classes)
        backbone = place_backbone(os.fspath(name_or_path), backbone, device)
        return cls(backbone, names, prompts, aggregation=aggregation or "softmax", image_size=image_size)

    @classmethod
    def zero_shot(
        cls,
        name_or_path: str | os.PathLike[str],
        classes: Sequence[str],
        *,
        prompts: TemplateConfig | None = None,
        aggregation: str = "softmax",
        image_size: int | None = None,
        device: str | torch.device = "auto",
        backbone: Backbone | None = None,
    ) -> "DualCoOp":
        """A model for any words, without training: hand-crafted prompts, and a scale at which 0.5 is a fair threshold.

        Args:
            name_or_path: what `create_backbone` takes: "lite", "RN101", "hf-hub:...", a checkpoint file.
            classes: names to look for.
            prompts: templates; by default "a photo of a {}.", and where the backbone has no logit bias (CLIP) also
                "a photo without a {}.".
            aggregation, image_size, device, backbone: see `from_pretrained`.

        Raises:
            ConfigError: for empty or repeated names, names that do not fit, or options that make no sense.
            BackboneError: when the backbone is unknown or cannot be loaded.
        """
        names = checked_classes(classes)
        backbone = place_backbone(os.fspath(name_or_path), backbone, device)
        return cls(
            backbone,
            names,
            prompts or zero_shot_prompts(backbone),
            aggregation=aggregation,
            image_size=image_size,
            logit_scale=zero_shot_logit_scale(backbone),
        )

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write tensors, config.json and a model card into a folder, which is made if need be.

        model.safetensors holds what was learned, text_features.safetensors the text features that it leads to
        (float32, 4 D bytes a prompt), so that a loaded model predicts without running the text tower. The backbone is
        named, not copied, save for fine-tuned tensors (backbone.safetensors).

        Raises:
            ModelError: when the folder cannot be written or the training record holds no JSON values.
        """
        from dualcoop.saving.folder import save_model

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
        from dualcoop.saving.hub import push_model

        return push_model(self, repo_id, private=private, token=token, commit_message=commit_message)

    def encode_images(
        self, images: ImageInput | Iterable[ImageInput], batch_size: int = 32, progress: Progress | None = None
    ) -> Tensor:
        """Region features of images, without gradients: (B, R, D) on the model's device.

        Args:
            images: one or many of: a path, a PIL image, RGB pixels (H, W, 3) as uint8.
            batch_size: images in a batch; on a CPU up to four batches are encoded at once.
            progress: called as progress(done, total) after every batch.

        Raises:
            DataError: naming the first image that cannot be read.
        """
        rows, columns = self.backbone.grid_size(self.image_size)
        count = 1 if self.aggregation == "attention" else rows * columns + 1
        regions = [torch.empty(0, count, self.backbone.embed_dim, device=self.device)]
        for _, found in self.in_batches(images, lambda: self._constant_regions, batch_size, "raise", progress):
            if found is not None:
                regions.append(found)
        return torch.cat(regions)

    def export_onnx(
        self,
        path: str | os.PathLike[str],
        *,
        quantize: str | None = None,
        calibration: Iterable[ImageInput] | None = None,
    ) -> "ExportedTagger":
        """Write one ONNX file that `dualcoop.export.OnnxTagger` runs without torch; see `export_onnx` there.

        Args:
            path: of the file, *.onnx.
            quantize: "int8" for 8-bit weights and activations of the image tower.
            calibration: images that show the range of its activations; some that ship with the package by default.

        Raises:
            ConfigError: for other options, or when a package is missing.
            BackboneError: when the image tower cannot be written as ONNX.
        """
        from dualcoop.export.onnx_file import export_onnx

        return export_onnx(self, path, quantize=quantize, calibration=calibration)

    def preprocessing(self) -> Callable[[Image.Image], Tensor]:
        """Transform from an RGB image to (3, S, S), the backbone's own."""
        return self.backbone.preprocess(self.image_size)

    def probabilities_of(self, pixels: Tensor) -> NDArray[np.float32]:
        """Probability of every class (Eq. 3), (B, M), of preprocessed images (B, 3, S, S)."""
        regions = self._constant_regions(pixels)
        # Autocast is for the encoder: a cosine needs more digits, and the head costs little.
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            return probabilities(self.logits_from_regions(regions)).float().cpu().numpy()

    def ready_probabilities_of(self) -> Callable[[Tensor], NDArray[np.float32]]:
        """`probabilities_of`, once the class names are encoded, unless they change with the backbone."""
        if not self._learns_backbone():
            with torch.no_grad():
                self.text_features()
        return self.probabilities_of

    def streams(self) -> int:
        """Batches that are computed at a time: several on a CPU of several cores."""
        return streams(self.device)

    def compute_batches(
        self, batches: Iterable[Batch], compute: Callable[[Batch], Result]
    ) -> Generator[tuple[Batch, Result], None, None]:
        """Every batch with its result, in order; see `side_by_side`."""
        return side_by_side(batches, compute, self.device)

    def threshold_values(self) -> NDArray[np.float32]:
        """(M,): a class is present where its probability exceeds its threshold."""
        return self.thresholds.cpu().numpy()

    def _constant_regions(self, pixels: Tensor) -> Tensor:
        with torch.no_grad():
            return self.encode_pixels(pixels.to(self.device))

    def explain(self, image: ImageInput, label: str) -> NDArray[np.float32]:
        """Weights of the grid's regions for one class (Eq. 5): (rows, columns), float32, summing to 1.

        The softmax over regions of the leading prompt's similarities (the positive one's, if it is in use), whatever
        `aggregation` is. The global region has no place in the image: it is left out and the
        weights of the others are renormalised.

        Raises:
            ModelError: for a label that is no class of this model.
            DataError: when the image cannot be read.
        """
        index = torch.tensor([self.class_index(label)], device=self.device)
        image = read_image(image, draft_size=DRAFT_OVERSAMPLING * self.image_size)
        pixels = self.backbone.preprocess(self.image_size)(image)[None].to(self.device)
        with torch.no_grad():
            regions = self.backbone.encode_regions(pixels, global_region=False)
            text = self.text_features(index)
            weights = region_weights(regions @ text[text.leading].T, spatial_scale=self.spatial_scale)
        return weights.float().reshape(self.backbone.grid_size(self.image_size)).cpu().numpy()

    def with_classes(self, classes: Sequence[str]) -> "DualCoOp":
        """A model for other names over the same backbone object, without training.

        Shared contexts are copied and stand before any name; templates do too. Class-specific contexts go
        only to names that this model knows, in any order or selection. Thresholds and class biases carry
        over by name; a new name gets their medians. Text features that this model has are taken over, so that the
        text tower runs for new names alone.

        Raises:
            ModelError: when the prompts are class-specific and a name is new.
            ConfigError: for empty or repeated names, or names that do not fit.
        """
        names = checked_classes(classes)
        prompts = self.prompts.for_classes(self.backbone, self.classes, names)
        model = DualCoOp(
            self.backbone,
            names,
            prompts,
            aggregation=self.aggregation,
            image_size=self.image_size,
            spatial_scale=self.spatial_scale,
            logit_scale=self.logit_scale,
            logit_bias=self.logit_bias,
        )
        position = {normalise_name(name): index for index, name in enumerate(self.classes)}
        rows = [position.get(normalise_name(name)) for name in names]
        for mine, other in ((self.thresholds, model.thresholds), (self.class_bias, model.class_bias)):
            median = float(mine.quantile(0.5))
            other.copy_(torch.tensor([median if row is None else float(mine[row]) for row in rows]))
        known = self.kept_text_features()
        if known is not None:
            model.carry_text_features(known, rows)
        model.mark_finetuned(self.backbone_delta, self._frozen_fingerprint)
        model.training_record = copy.deepcopy(self.training_record)
        return model
