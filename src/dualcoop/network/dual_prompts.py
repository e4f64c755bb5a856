"""DualCoOp as a module of tensors: frozen backbone, prompts, and the two logits of every class."""

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

import torch
from torch import Tensor, nn

from dualcoop.backbones.base import Backbone
from dualcoop.checks import check_choice
from dualcoop.class_names import checked_classes, normalise_name
from dualcoop.functional import DualLogits, aggregated_similarities, logits_of_prompts, probabilities, region_weights
from dualcoop.functional.pieces import aggregated_in_pieces
from dualcoop.network.region_classifier import POOLED, REGIONS, RegionClassifier
from dualcoop.network.settings import entry, number
from dualcoop.options import Aggregation
from dualcoop.prompts import (
    KeptText,
    PromptConfig,
    PromptLearner,
    TemplateConfig,
    TemplatePrompts,
    TextFeatures,
    build_prompts,
    merged_text_features,
    prompts_from_dict,
)

if TYPE_CHECKING:
    from typing_extensions import Self

MODEL_AGGREGATIONS: tuple[str, ...] = get_args(Aggregation)


class DualCoOpNetwork(RegionClassifier):
    """Multi-label recognition with dual prompts over a frozen backbone (section 3 of the paper).

    Attributes:
        prompts: PromptLearner, whose contexts are the only learnable parameters, or TemplatePrompts.
        class_bias: (M,), float32 buffer, added to the logit bias: what is known of each class's frequency. Zeros
            unless the trainer set it from the numbers of known labels.
        aggregation: "softmax" (Eq. 5 and 6), "average", "maximum" (Fig. 3), or "attention", the backbone's
            own pooling to one vector (Table 6).
        spatial_scale, logit_scale, logit_bias: of the head, the backbone's own unless given.

    The others are those of every `RegionClassifier`.
    """

    method = "dualcoop"
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
        super().__init__(backbone, classes, image_size=image_size)
        check_choice("aggregation", aggregation, MODEL_AGGREGATIONS)
        self.aggregation = aggregation
        own_scale = backbone.spatial_scale_at(self.image_size)
        self.spatial_scale = own_scale if spatial_scale is None else float(spatial_scale)
        self.logit_scale = backbone.logit_scale if logit_scale is None else float(logit_scale)
        self.logit_bias = backbone.logit_bias if logit_bias is None else float(logit_bias)
        if isinstance(prompts, PromptLearner | TemplatePrompts):
            self.prompts = prompts
        else:
            self.prompts = build_prompts(backbone, self.classes, prompts or PromptConfig())
        self.register_buffer("class_bias", torch.zeros(len(self.classes)))
        self._kept_text: KeptText | None = None
        self.to(self.device)

    @property
    def pooling(self) -> str:
        """How the backbone encodes images for this model, "regions" or "attention", its own pooling to one vector."""
        return POOLED if self.aggregation == POOLED else REGIONS

    def settings(self) -> dict[str, Any]:
        """Prompts and head, JSON values by name."""
        return {
            "prompts": self.prompts.config.to_dict(),
            "aggregation": self.aggregation,
            "image_size": self.image_size,
            "spatial_scale": self.spatial_scale,
            "logit_scale": self.logit_scale,
            "logit_bias": self.logit_bias,
        }

    @classmethod
    def from_settings(
        cls, backbone: Backbone, classes: Sequence[str], settings: Mapping[str, Any], **instead: Any
    ) -> "Self":
        """A model as `settings` describes it; `aggregation` and `image_size` may be others, see `RegionClassifier`."""
        wanted = {**settings, **{name: value for name, value in instead.items() if value is not None}}
        spatial_scale = number(settings, "spatial_scale")
        # A scale that follows the image size follows it here too; one of the user's own stays.
        follows = math.isclose(spatial_scale, backbone.spatial_scale_at(entry(settings, "image_size", int)))
        return cls(
            backbone,
            classes,
            prompts_from_dict(entry(settings, "prompts", dict)),
            aggregation=entry(wanted, "aggregation", str),
            image_size=entry(wanted, "image_size", int),
            spatial_scale=None if follows else spatial_scale,
            logit_scale=number(settings, "logit_scale"),
            logit_bias=number(settings, "logit_bias"),
        )

    def tensors(self) -> dict[str, Tensor]:
        """Contexts, thresholds and class biases by name."""
        contexts = {f"prompts.{name}": tensor for name, tensor in self.prompts.state_dict().items()}
        return {**contexts, **super().tensors(), "class_bias": self.class_bias}

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

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles hold: all but kept text features."""
        return {**self.__dict__, "_kept_text": None}

    def _constant_text_features(self, class_subset: Tensor | None = None) -> TextFeatures:
        # Constant features deserve full precision, and must stay usable where gradients are wanted.
        with torch.inference_mode(False), torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            return self.prompts.text_features(self.backbone, class_subset)

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
        self.check_regions(regions)
        if text is None:
            text = self.text_features(class_subset)
        class_bias = self.class_bias if class_subset is None else self.class_bias[class_subset]
        return logits_of_prompts(
            regions.to(self.device),
            text,
            spatial_scale=self.spatial_scale,
            logit_scale=self.logit_scale,
            logit_bias=self.logit_bias + class_bias,
            aggregation="average" if self.pooling == POOLED else self.aggregation,
            aggregate=aggregate,
        )

    def forward(self, images: Tensor) -> DualLogits:
        """Positive and negative logits, each (B, M), of preprocessed images (B, 3, S, S)."""
        return self.logits_from_regions(self.encode_pixels(images))

    def scores(self, regions: Tensor) -> Tensor:
        """Probability of every class (Eq. 3), (B, M), of regions (B, R, D); errors as `logits_from_regions`."""
        return probabilities(self.logits_from_regions(regions))

    def ready(self, *, traceable: bool = False) -> Callable[[Tensor], Tensor]:
        """`scores` of the model as it is now, with the text features computed once; see `RegionClassifier`."""
        with torch.no_grad():
            text = self.text_features()
        aggregate = aggregated_similarities if traceable else aggregated_in_pieces
        return lambda regions: probabilities(self.logits_from_regions(regions, text=text, aggregate=aggregate))

    def region_weights(self, regions: Tensor, class_indices: Tensor) -> Tensor:
        """Weights of regions (B, R, D) in the scores of classes (K,), (B, R, K), summing to 1 over R (Eq. 5).

        The softmax over regions of the leading prompt's similarities (the positive one's, if it is in use), whatever
        `aggregation` is.
        """
        text = self.text_features(class_indices)
        return region_weights(regions @ text[text.leading].T, spatial_scale=self.spatial_scale)

    def with_classes(self, classes: Sequence[str]) -> "Self":
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
        model = type(self)(
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

    def unfreeze_backbone(self, patterns: str | Iterable[str]) -> list[nn.Parameter]:
        """Make backbone parameters learnable, see `RegionClassifier`; text features are computed anew from now on."""
        chosen = super().unfreeze_backbone(patterns)
        self._kept_text = None
        return chosen
