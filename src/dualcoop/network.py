"""The method as a module of tensors: frozen backbone, prompts, and the two logits of every class."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dualcoop.backbones.base import Backbone
from dualcoop.class_names import checked_classes, class_index
from dualcoop.errors import ConfigError, ModelError
from dualcoop.functional import AGGREGATIONS, DualLogits, logits_of_prompts
from dualcoop.functional.pieces import aggregated_in_pieces
from dualcoop.inference.prediction import updated_thresholds
from dualcoop.prompts import (
    KeptText,
    PromptConfig,
    PromptLearner,
    TemplateConfig,
    TemplatePrompts,
    TextFeatures,
    build_prompts,
    merged_text_features,
)

MODEL_AGGREGATIONS = (*AGGREGATIONS, "attention")
DEFAULT_THRESHOLD = 0.5


class DualCoOpNetwork(nn.Module):
    """Multi-label recognition with dual prompts over a frozen backbone (section 3 of the paper).

    Attributes:
        backbone: frozen; image regions and text features come from it.
        classes: M names, as given.
        prompts: PromptLearner, whose contexts are the only learnable parameters, or TemplatePrompts.
        thresholds: (M,), float32 buffer; a label is present where its probability exceeds its threshold.
        class_bias: (M,), float32 buffer, added to the logit bias: what is known of each class's frequency. Zeros
            unless the trainer set it from the numbers of known labels.
        aggregation: "softmax" (Eq. 5 and 6), "average", "maximum" (Fig. 3), or "attention", the backbone's
            own pooling to one vector (Table 6).
        image_size: side of the square input, pixels.
        spatial_scale, logit_scale, logit_bias: of the head, the backbone's own unless given.
        backbone_delta: names of backbone tensors that are fine-tuned and have to be saved with the model.
        training_record: what is known of the training, JSON values; its entries "training" and "metrics" go
            into the saved configuration and the model card.
    """

    thresholds: Tensor
    class_bias: Tensor

    def __init__(
        self,
        backbone: Backbone,
        classes: Sequence[str],
        prompts: PromptConfig | TemplateConfig | PromptLearner | TemplatePrompts | None = None,
        *,
        aggregation: str = "softmax",
        image_size: int | None = None,
        spatial_scale: float | None = None,
        logit_scale: float | None = None,
        logit_bias: float | None = None,
    ) -> None:
        """Put prompts for `classes` in front of `backbone`.

        Args:
            backbone: frozen; the module moves to its device.
            classes: M names.
            prompts: how to make them, PromptConfig() by default, or prompts made for these names.
            aggregation, image_size, spatial_scale, logit_scale, logit_bias: see the class; None takes the
                backbone's own.

        Raises:
            ConfigError: for empty or repeated class names, an unknown aggregation, or too long prompts.
            BackboneError: for an image size that the backbone cannot take.
        """
        super().__init__()
        if aggregation not in MODEL_AGGREGATIONS:
            raise ConfigError(f"aggregation is {aggregation!r}, expected one of {', '.join(MODEL_AGGREGATIONS)}")
        self.classes = checked_classes(classes)
        self.backbone = backbone
        self.image_size = backbone.image_size if image_size is None else image_size
        backbone.grid_size(self.image_size)
        self.aggregation = aggregation
        own_scale = backbone.spatial_scale_at(self.image_size)
        self.spatial_scale = own_scale if spatial_scale is None else float(spatial_scale)
        self.logit_scale = backbone.logit_scale if logit_scale is None else float(logit_scale)
        self.logit_bias = backbone.logit_bias if logit_bias is None else float(logit_bias)
        if isinstance(prompts, PromptLearner | TemplatePrompts):
            self.prompts = prompts
        else:
            self.prompts = build_prompts(backbone, self.classes, prompts or PromptConfig())
        self.register_buffer("thresholds", torch.full((len(self.classes),), DEFAULT_THRESHOLD))
        self.register_buffer("class_bias", torch.zeros(len(self.classes)))
        self.backbone_delta: set[str] = set()
        self.training_record: dict[str, Any] = {}
        self._frozen_fingerprint: str | None = None
        self._kept_text: KeptText | None = None
        self.to(next(backbone.parameters(), self.thresholds).device)

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return self.thresholds.device

    @property
    def num_learnable_parameters(self) -> int:
        """Numbers that an optimizer would change."""
        return sum(parameter.numel() for parameter in self.parameters() if parameter.requires_grad)

    def text_features(self, class_subset: Tensor | None = None) -> TextFeatures:
        """Features of the prompts in use, each (M, D) or, with a subset, (K, D).

        With gradients enabled and contexts that require them, they are computed anew and differentiable;
        otherwise they are kept until a context changes, or not at all while the backbone is learnable.

        Args:
            class_subset: (K,), int64, indices of the classes wanted.
        """
        learning = torch.is_grad_enabled() and any(context.requires_grad for context in self.prompts.parameters())
        if learning or self._learns_backbone():
            return self.prompts.text_features(self.backbone, class_subset)
        features = self.kept_text_features()
        if features is None:
            features = self._constant_text_features()
            self.keep_text_features(features)
        return features if class_subset is None else features.selected(class_subset)

    def kept_text_features(self) -> TextFeatures | None:
        """Text features that are known without running the text tower, (M, D) each; None where there are none."""
        kept = self._kept_text
        if kept is None or self._learns_backbone() or not kept.fits(self.prompts, self.backbone, self.device):
            return None
        return kept.features

    def keep_text_features(self, features: TextFeatures) -> None:
        """Take constants for the text features until a context changes.

        Args:
            features: (M, D) each, what `text_features` gives, or gave elsewhere, for the prompts as they are now.
        """
        self._kept_text = KeptText.of(self.prompts, self.backbone, self.device, features)

    def carry_text_features(self, known: TextFeatures, rows: Sequence[int | None]) -> None:
        """Keep text features of a model with the same prompts for other names; the text tower runs for new names alone.

        Args:
            known: (K, D) each.
            rows: of each class, its row in `known`; None for a new name.
        """
        new = torch.tensor([index for index, row in enumerate(rows) if row is None], device=self.device)
        added = self._constant_text_features(new) if len(new) else None
        self.keep_text_features(merged_text_features(known, added, rows))

    def _constant_text_features(self, class_subset: Tensor | None = None) -> TextFeatures:
        # Constant features deserve full precision, and must stay usable where gradients are wanted.
        with torch.inference_mode(False), torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            return self.prompts.text_features(self.backbone, class_subset)

    def _learns_backbone(self) -> bool:
        return any(parameter.requires_grad for parameter in self.backbone.parameters())

    def encode_pixels(self, images: Tensor) -> Tensor:
        """Region features (B, R, D) of preprocessed images (B, 3, S, S), L2-normalised, differentiable.

        The global region comes first; under "attention" it is the only one (R = 1) pooled by the backbone.
        """
        if self.aggregation == "attention":
            return self.backbone.encode_pooled(images)[:, None]
        return self.backbone.encode_regions(images)

    def logits_from_regions(
        self,
        regions: Tensor,
        class_subset: Tensor | None = None,
        *,
        text: Mapping[str, Tensor] | None = None,
        aggregate: Callable[..., Tensor] = aggregated_in_pieces,
    ) -> DualLogits:
        """Positive and negative logits, each (B, M) or, with a subset, (B, K) (Eq. 5 and 6).

        Args:
            regions: (B, R, D), as `encode_pixels` and `encode_images` return them; kept ones may be of lower
                precision or elsewhere.
            class_subset: (K,), int64, indices of the classes wanted.
            text: features that `text_features` gave for the same classes, where the caller has them.
            aggregate: see `logits_of_prompts`.

        Raises:
            ModelError: for regions of another shape.
        """
        if regions.dim() != 3 or regions.shape[2] != self.backbone.embed_dim:
            raise ModelError(
                f"regions are {tuple(regions.shape)}, expected (B, R, {self.backbone.embed_dim}) as "
                f"encode_images returns them for {self.backbone.name}"
            )
        if text is None:
            text = self.text_features(class_subset)
        class_bias = self.class_bias if class_subset is None else self.class_bias[class_subset]
        return logits_of_prompts(
            regions.to(self.device),
            text,
            spatial_scale=self.spatial_scale,
            logit_scale=self.logit_scale,
            logit_bias=self.logit_bias + class_bias,
            aggregation="average" if self.aggregation == "attention" else self.aggregation,
            aggregate=aggregate,
        )

    def forward(self, images: Tensor) -> DualLogits:
        """Positive and negative logits, each (B, M), of preprocessed images (B, 3, S, S)."""
        return self.logits_from_regions(self.encode_pixels(images))

    def class_index(self, label: str) -> int:
        """Position of a class; underscores and white space do not matter.

        Raises:
            ModelError: for a label that is no class of this model, with the nearest names.
        """
        return class_index(self.classes, label)

    def set_thresholds(self, thresholds: float | Sequence[float] | NDArray[Any] | Mapping[str, float]) -> None:
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
                raise ConfigError(
                    f"no parameter of {self.backbone.name} matches {pattern!r}; they are named like "
                    f"{', '.join(list(named)[:3])}"
                )
            chosen |= matches
        for parameter in chosen.values():
            parameter.requires_grad_(True)
        self.backbone_delta |= set(chosen)
        self._kept_text = None
        return list(chosen.values())

    def mark_finetuned(self, names: Iterable[str], fingerprint: str | None) -> None:
        """Note which tensors of the backbone differ from those it had under this fingerprint."""
        self.backbone_delta = set(names)
        self._frozen_fingerprint = fingerprint

    def backbone_fingerprint(self) -> str:
        """Fingerprint of the backbone as it was before any fine-tuning."""
        if self._frozen_fingerprint is None:
            if self.backbone_delta:
                raise ModelError(
                    "backbone_delta names fine-tuned tensors, but the backbone was not fingerprinted before; "
                    "make parameters learnable with unfreeze_backbone"
                )
            self._frozen_fingerprint = self.backbone.fingerprint()
        return self._frozen_fingerprint
