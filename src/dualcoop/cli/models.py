"""Models as the commands open them: trained ones, and zero-shot ones made from a list of labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dualcoop.cli.progress import waiting
from dualcoop.errors import ConfigError

if TYPE_CHECKING:
    from dualcoop.model import DualCoOp

DEFAULT_BACKBONE = "lite"


def open_model(
    model: str | None,
    labels: Sequence[str] | None,
    *,
    backbone: str = DEFAULT_BACKBONE,
    device: str = "auto",
    image_size: int | None = None,
) -> "DualCoOp":
    """A trained model, for its own labels or carried over to others; without one, zero-shot.

    Args:
        model: folder or hub name of a trained model, or None.
        labels: names to look for; None takes the trained model's own.
        backbone: of the zero-shot model.
        device: see `resolve_device`.
        image_size: pixels, None for the backbone's or the saved one.

    Raises:
        ConfigError: when there is neither a model nor a label.
        ModelError, BackboneError: when the model or its backbone cannot be loaded.
    """
    if model is None and not labels:
        raise ConfigError(
            'say what to look for: --labels "dog, beach, surfboard", --labels @words.txt with one label a line, '
            "or --model FOLDER of a trained model."
        )
    with waiting(f"loading {model or backbone}"):
        from dualcoop.model import DualCoOp

        if model is None:
            assert labels
            return DualCoOp.zero_shot(backbone, labels, device=device, image_size=image_size)
        try:
            trained = DualCoOp.from_pretrained(model, device=device, image_size=image_size)
        except ConfigError as error:
            raise ConfigError(
                f"{model!r} is no trained model. Give the folder that `dualcoop train` wrote, or owner/name on the "
                "hub; for any labels without training, leave --model out and give --labels (and --backbone)."
            ) from error
        return trained.with_classes(labels) if labels else trained


def is_model_folder(name: str) -> bool:
    """Whether this is the folder of a saved model."""
    from dualcoop.saved_config import is_saved_model

    return is_saved_model(Path(name).expanduser())
