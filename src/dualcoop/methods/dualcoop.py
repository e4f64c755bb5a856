"""DualCoOp for images and files: learned dual prompts, or hand-crafted ones without training."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from dualcoop.backbones.base import Backbone
from dualcoop.backbones.loading.registry import place_backbone
from dualcoop.class_names import checked_classes
from dualcoop.features.regions import RegionFeatures
from dualcoop.methods.base import Labelled, Method
from dualcoop.methods.zero_shot import zero_shot_logit_scale, zero_shot_prompts
from dualcoop.network import DualCoOpNetwork
from dualcoop.prompts import PromptConfig, TemplateConfig

if TYPE_CHECKING:
    from typing_extensions import Self

    from dualcoop.training.arguments import TrainingArguments
    from dualcoop.training.callbacks import Callback


class DualCoOp(DualCoOpNetwork, Method):
    """Multi-label recognition with dual prompts over a frozen vision-language backbone (section 3 of the paper).

    Attributes and construction from parts are those of `DualCoOpNetwork`; `from_pretrained` goes by name, and
    `zero_shot` needs no training.
    """

    loading_options = ("aggregation",)

    def fit(
        self,
        features: RegionFeatures,
        labels: NDArray[np.int8],
        valid: Labelled | None = None,
        arguments: "TrainingArguments | None" = None,
        callbacks: "Sequence[Callback]" = (),
    ) -> "Self":
        """Learn the contexts, see `dualcoop.training.fitting.fit_prompts`, which also gives the history.

        `dualcoop.Trainer` is for images that are still to be encoded, and writes a record of the run.

        Args:
            features, labels, valid: see `Method.fit`.
            arguments: TrainingArguments() by default.
            callbacks: hear of progress.
        """
        from dualcoop.training.arguments import TrainingArguments
        from dualcoop.training.fitting import fit_prompts
        from dualcoop.training.record import LOCAL_OPTIONS

        arguments = arguments or TrainingArguments()
        result = fit_prompts(self, features, labels, valid, arguments, callbacks)
        options = {name: value for name, value in arguments.to_dict().items() if name not in LOCAL_OPTIONS}
        metrics = {} if result.validation is None else {"validation": result.validation.to_dict()}
        self._record(labels, valid, metrics, arguments=options, chosen_epoch=result.epoch, seconds=result.seconds)
        return self

    @classmethod
    def from_pretrained(
        cls,
        name_or_path: str | os.PathLike[str],
        classes: Sequence[str] | None = None,
        *,
        prompts: PromptConfig | TemplateConfig | None = None,
        aggregation: str | None = None,
        **options: Any,
    ) -> "Self":
        """A saved model, or a new one over a backbone; other arguments and errors are those of `Method`.

        Args:
            name_or_path: folder or hub repository ("owner/name") of a saved model, or what `create_backbone`
                takes: "lite", "RN101", "hf-hub:...", a checkpoint file.
            classes: names of the new model; left out for a saved one.
            prompts: of a new model, PromptConfig() by default; a saved one has its own.
            aggregation: "softmax" by default, or as saved.
            options: `image_size`, `device`, `backbone`, `revision`, `token`.
        """
        return super().from_pretrained(name_or_path, classes, prompts=prompts, aggregation=aggregation, **options)

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
    ) -> "Self":
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
