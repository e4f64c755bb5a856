"""A linear classifier for each class on the mean region: what the names and prompts are worth shows beside it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dualcoop.backbones.base import Backbone
from dualcoop.baselines import LinearProbe
from dualcoop.errors import ConfigError, Option
from dualcoop.features.checks import check_labelled
from dualcoop.features.regions import RegionFeatures
from dualcoop.methods.base import Labelled, Method
from dualcoop.network.settings import entry

if TYPE_CHECKING:
    from typing_extensions import Self


class Linear(Method):
    """Logistic regression per class on the mean region of each image, see `LinearProbe`.

    Attributes:
        probe: that `fit` fits.
        coefficients: (M, D), float32 buffer; zeros before `fit`.
        intercepts: (M,), float32 buffer, likewise.
    """

    method = "linear"
    aggregation = "mean region"
    coefficients: Tensor
    intercepts: Tensor

    def __init__(
        self,
        backbone: Backbone,
        classes: Sequence[str],
        probe: LinearProbe | None = None,
        *,
        image_size: int | None = None,
    ) -> None:
        """Put a linear classifier behind a backbone; `probe` has the options of the fit, LinearProbe() by default."""
        super().__init__(backbone, classes, image_size=image_size)
        self.probe = probe or LinearProbe()
        self.register_buffer("coefficients", self.thresholds.new_zeros(len(self.classes), backbone.embed_dim))
        self.register_buffer("intercepts", self.thresholds.new_zeros(len(self.classes)))

    def fit(self, features: RegionFeatures, labels: NDArray[np.int8], valid: Labelled | None = None) -> "Self":
        """Fit every class on its known labels; C is chosen on the held-out images, and thresholds too.

        Where the probe fits once more on all images together (`refit`), none is left for thresholds, and they stay.

        Raises:
            ConfigError: without held-out images, or when features, labels and model do not fit each other.
            DataError: when nothing can be learned; see `LinearProbe.fit`.
        """
        if valid is None:
            what = "a linear classifier needs held-out images to choose C by"
            raise ConfigError(what, remedy=("give ", Option("valid")))
        check_labelled(self, features, labels, "features")
        check_labelled(self, *valid, "valid")
        self.probe.fit(features.global_regions(), labels, valid[0].global_regions(), valid[1])
        self.coefficients.copy_(torch.from_numpy(self.probe.coef_))
        self.intercepts.copy_(torch.from_numpy(self.probe.intercept_))
        self._record(labels, valid, C=self.probe.C_, validation_map=self.probe.validation_map_)
        if not self.probe.refit:
            self._fit_thresholds(valid)
        return self

    def scores(self, regions: Tensor) -> Tensor:
        """Probability of every class, (B, M), of regions (B, R, D), of which the first is the mean."""
        self.check_regions(regions)
        logits = torch.nn.functional.linear(regions[:, 0].to(self.coefficients), self.coefficients, self.intercepts)
        return logits.sigmoid()

    def tensors(self) -> dict[str, Tensor]:
        """Coefficients, intercepts and thresholds."""
        return {**super().tensors(), "coefficients": self.coefficients, "intercepts": self.intercepts}

    def settings(self) -> dict[str, Any]:
        """The image size; the rest is tensors."""
        return {"image_size": self.image_size}

    @classmethod
    def from_settings(
        cls, backbone: Backbone, classes: Sequence[str], settings: Mapping[str, Any], **instead: Any
    ) -> "Self":
        """A model as `settings` describes it; its tensors come later."""
        saved = entry(settings, "image_size", int)
        wanted = instead.get("image_size")
        return cls(backbone, classes, image_size=saved if wanted is None else wanted)
