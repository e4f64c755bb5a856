"""What every method is made of: a frozen backbone's regions, and a head that turns them into scores."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from dualcoop.backbones.base import Backbone
from dualcoop.class_names import checked_classes, class_index
from dualcoop.errors import ConfigError, ModelError, Only
from dualcoop.inference.prediction import Thresholds, updated_thresholds

if TYPE_CHECKING:
    from typing_extensions import Self

DEFAULT_THRESHOLD = 0.5
REGIONS, POOLED = "regions", "attention"
"""How a backbone gives an image: the mean and every place of its last map, or pooled to one vector."""


class RegionClassifier(nn.Module, ABC):
    """Scores of classes from the region features of a frozen backbone.

    A subclass says how (`scores`), and what of it is saved (`settings`, `tensors`, `from_settings`).

    Attributes:
        method: its name in `dualcoop.methods.registry`, written into saved models.
        backbone: image regions and text features come from it.
        classes: M names, as given.
        image_size: side of the square input, pixels.
        aggregation: how regions become one score, in a word; for information, unless a subclass says more.
        thresholds: (M,), float32 buffer; a label is present where its probability exceeds its threshold.
        backbone_delta: names of backbone tensors that are fine-tuned and have to be saved with the model.
        training_record: what is known of the training, JSON values; its entries "training" and "metrics" go
            into the saved configuration and the model card.
    """

    method: ClassVar[str]
    aggregation: str
    thresholds: Tensor

    def __init__(self, backbone: Backbone, classes: Sequence[str], *, image_size: int | None = None) -> None:
        """Take over a backbone and move to its device.

        Raises:
            ConfigError: for empty or repeated class names.
            BackboneError: for an image size that the backbone cannot take; None is its own.
        """
        super().__init__()
        self.classes = checked_classes(classes)
        self.backbone = backbone
        self.image_size = backbone.image_size if image_size is None else image_size
        backbone.grid_size(self.image_size)
        self.register_buffer("thresholds", torch.full((len(self.classes),), DEFAULT_THRESHOLD))
        self.backbone_delta: set[str] = set()
        self.training_record: dict[str, Any] = {}
        self._frozen_fingerprint: str | None = None
        self.to(next(backbone.parameters(), self.thresholds).device)

    @abstractmethod
    def scores(self, regions: Tensor) -> Tensor:
        """Probability of every class, (B, M), of regions (B, R, D) as `encode_pixels` gives them.

        Kept regions may be of lower precision or on another device.
        """

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What a model is besides backbone, classes and tensors, for its config.json: JSON values by name.

        "image_size" is among them.
        """

    @classmethod
    @abstractmethod
    def from_settings(
        cls, backbone: Backbone, classes: Sequence[str], settings: Mapping[str, Any], **instead: Any
    ) -> "Self":
        """A model as `settings`, read from a file that people edit, describes it; its tensors come later.

        Options given `instead` of the saved ones count, where they are not None.

        Raises:
            ConfigError: naming an entry that is missing, of the wrong kind, or makes no sense.
            BackboneError: for an image size that the backbone cannot take.
        """

    def tensors(self) -> dict[str, Tensor]:
        """What a model has beyond its backbone, by name; saved, and loaded in place."""
        return {"thresholds": self.thresholds}

    def ready(self, *, traceable: bool = False) -> Callable[[Tensor], Tensor]:
        """`scores` of the model as it is now, with what all batches need made once.

        Args:
            traceable: written plainly, for programs that record operations (ONNX); for small batches only.
        """
        return self.scores

    def region_weights(self, regions: Tensor, class_indices: Tensor) -> Tensor:
        """Weights of regions (B, R, D) in the scores of some classes (K,): (B, R, K), summing to 1 over R.

        Raises:
            ModelError: where the method weighs no regions.
        """
        raise ModelError(f"the method {self.method!r} weighs no regions, so its scores cannot be explained by places")

    def with_classes(self, classes: Sequence[str]) -> "Self":
        """A model for other names over the same backbone object, without training.

        Raises:
            ModelError: where what was learned does not carry over.
            ConfigError: for empty or repeated names, or names that do not fit.
        """
        what = f"the method {self.method!r} learns each class from its labels and knows nothing of other names"
        raise ModelError(f"{what}; train it for these classes")

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.thresholds.device

    @property
    def pooling(self) -> str:
        """How the backbone encodes images for this model, "regions" or "attention", its own pooling to one vector."""
        return REGIONS

    @property
    def region_shape(self) -> tuple[int, int]:
        """R and D of what the model encodes; the mean comes first, then the places of the map, row by row."""
        rows, columns = self.backbone.grid_size(self.image_size)
        return (1 if self.pooling == POOLED else rows * columns + 1), self.backbone.embed_dim

    @property
    def num_learnable_parameters(self) -> int:
        """Numbers that an optimizer would change."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    def encode_pixels(self, images: Tensor) -> Tensor:
        """Region features (B, R, D) of preprocessed images (B, 3, S, S), L2-normalised, differentiable."""
        if self.pooling == POOLED:
            return self.backbone.encode_pooled(images)[:, None]
        return self.backbone.encode_regions(images)

    def check_regions(self, regions: Tensor) -> None:
        """Refuse what `encode_pixels` of this backbone does not give.

        Raises:
            ModelError: for regions of another shape.
        """
        if regions.dim() != 3 or regions.shape[2] != self.backbone.embed_dim:
            expected = f"(B, R, {self.backbone.embed_dim}) as encode_images returns them for {self.backbone.name}"
            raise ModelError(f"regions are {tuple(regions.shape)}, expected {expected}")

    def class_index(self, label: str) -> int:
        """Position of a class; underscores and white space do not matter.

        Raises:
            ModelError: for a label that is no class of this model, with the nearest names.
        """
        return class_index(self.classes, label)

    def set_thresholds(self, thresholds: Thresholds) -> None:
        """Set the probabilities above which classes count as present.

        Args:
            thresholds: one for all classes, one for each (M,), or a mapping that sets the named classes only.

        Raises:
            ConfigError: for a wrong number of them, or values that are not finite.
            ModelError: for a name that is no class of this model.
        """
        values = updated_thresholds(self.classes, self.thresholds.cpu().numpy(), thresholds)
        self.thresholds.copy_(torch.from_numpy(values))

    def unfreeze_backbone(self, patterns: str | Iterable[str]) -> list[nn.Parameter]:
        """Make backbone parameters learnable (appendix B, Table 6); from then on saved with the model.

        Args:
            patterns: names of backbone parameters, with shell wildcards, such as "image.visual.attnpool.*".

        Returns:
            The parameters, for an optimizer.

        Raises:
            ConfigError: for a pattern that matches no parameter.
        """
        self.backbone_fingerprint()
        named = dict(self.backbone.named_parameters())
        chosen: dict[str, nn.Parameter] = {}
        for pattern in [patterns] if isinstance(patterns, str) else patterns:
            matches = {name: named[name] for name in named if fnmatchcase(name, pattern)}
            if not matches:
                examples = ", ".join(list(named)[:3])
                raise ConfigError(
                    f"no parameter of {self.backbone.name} matches {pattern!r}; they are named like {examples}"
                )
            chosen |= matches
        for parameter in chosen.values():
            parameter.requires_grad_(True)
        self.backbone_delta |= set(chosen)
        return list(chosen.values())

    def mark_finetuned(self, names: Iterable[str], fingerprint: str | None) -> None:
        """Note which tensors of the backbone differ from those it had under this fingerprint."""
        self.backbone_delta = set(names)
        self._frozen_fingerprint = fingerprint

    def backbone_fingerprint(self) -> str:
        """Fingerprint of the backbone as it was before any fine-tuning."""
        if self._frozen_fingerprint is None:
            if self.backbone_delta:
                what = "backbone_delta names fine-tuned tensors, but the backbone was not fingerprinted before"
                raise ModelError(what, remedy=Only("python", "make parameters learnable with unfreeze_backbone"))
            self._frozen_fingerprint = self.backbone.fingerprint()
        return self._frozen_fingerprint

    def _learns_backbone(self) -> bool:
        return any(parameter.requires_grad for parameter in self.backbone.parameters())
