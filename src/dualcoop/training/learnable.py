"""What a run trains: the prompts, and parts of the image tower where that is asked for."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dualcoop.errors import ConfigError, Option
from dualcoop.network import DualCoOpNetwork
from dualcoop.training.arguments import TrainingArguments

PROMPTS = "prompts."
BACKBONE = "backbone."
RESIDUAL = "_residual"


@contextmanager
def learnable_parameters(model: DualCoOpNetwork, finetune: str) -> Iterator[dict[str, nn.Parameter]]:
    """Parameters to train by name; afterwards the backbone is frozen again and no gradient is kept.

    Args:
        model: gives contexts and residuals, "prompts.*", and the image tower, "backbone.*".
        finetune: see `TrainingArguments`.

    Raises:
        ConfigError: when the backbone has no such parameters.
    """
    learnable = {f"{PROMPTS}{name}": value for name, value in model.prompts.named_parameters()}
    tuned = _tuned_names(model, finetune)
    unfrozen = model.unfreeze_backbone(tuned) if tuned else ()
    learnable |= {f"{BACKBONE}{name}": value for name, value in zip(tuned, unfrozen, strict=True)}
    try:
        yield learnable
    finally:
        for name, parameter in learnable.items():
            parameter.grad = None
            if name.startswith(BACKBONE):
                parameter.requires_grad_(False)


def _tuned_names(model: DualCoOpNetwork, finetune: str) -> list[str]:
    if finetune == "none":
        return []
    backbone = model.backbone
    wanted = {id(p) for p in (backbone.pooling_parameters() if finetune == "pooling" else backbone.image_parameters())}
    if not wanted:
        what = f"is {finetune!r}, but {backbone.name} has nothing there that can be fine-tuned"
        raise ConfigError(what, option="finetune", remedy=("give ", Option("finetune", "none")))
    return [name for name, parameter in backbone.named_parameters() if id(parameter) in wanted]


def make_optimizer(arguments: TrainingArguments, learnable: dict[str, nn.Parameter]) -> torch.optim.Optimizer:
    """SGD or AdamW; each parameter group has its highest learning rate as "peak"."""

    def peak_of(name: str) -> float:
        if name.startswith(BACKBONE):
            return arguments.backbone_learning_rate
        return arguments.residual_learning_rate if name.endswith(RESIDUAL) else arguments.learning_rate

    by_peak: dict[float, list[nn.Parameter]] = {}
    for name, parameter in learnable.items():
        by_peak.setdefault(peak_of(name), []).append(parameter)
    groups = [{"params": parameters, "lr": peak, "peak": peak} for peak, parameters in by_peak.items()]
    if arguments.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=arguments.momentum, weight_decay=arguments.weight_decay)
    return torch.optim.AdamW(groups, weight_decay=arguments.weight_decay)


def copies(learnable: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    """Values of the parameters as they are now."""
    return {name: parameter.detach().clone() for name, parameter in learnable.items()}


def assign(learnable: dict[str, nn.Parameter], values: dict[str, Tensor]) -> None:
    """Set the parameters to these values; KeyError when one is missing."""
    with torch.no_grad():
        for name, parameter in learnable.items():
            parameter.copy_(values[name])
