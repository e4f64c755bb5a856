"""The model card that is saved with a model: what it is, how it was made, what it reached, how to use it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dualcoop.counting import counted
from dualcoop.prompts import PromptConfig, prompts_from_dict
from dualcoop.saving.config import DEFAULT_METHOD, SavedConfig

CLASSES_SHOWN = 200
TEMPLATE = Path(__file__).with_name("card.md.jinja")


def model_card(config: SavedConfig) -> str:
    """Markdown with the Hub's metadata block, written from the saved configuration alone."""
    from huggingface_hub import ModelCard, ModelCardData

    metadata = ModelCardData(
        library_name="dualcoop",
        pipeline_tag="image-classification",
        tags=["multi-label", "dualcoop", "prompt-learning", "vision-language"],
    )
    prompts = prompts_from_dict(config.settings["prompts"]) if "prompts" in config.settings else None
    card = ModelCard.from_template(
        metadata,
        template_path=str(TEMPLATE),
        config=config,
        is_default=config.method == DEFAULT_METHOD,
        prompts=prompts,
        learned=isinstance(prompts, PromptConfig),
        backbone=backbone_title(config.backbone_name),
        size=counted(len(config.classes), "class"),
        classes_shown=CLASSES_SHOWN,
        training=list(_rows(config.training_record.get("training"))),
        metrics=list(_rows(config.training_record.get("metrics"))),
        details=list(_rows(_details(config))),
    )
    return str(card)


def _details(config: SavedConfig) -> dict[str, Any]:
    """Settings and origin, what is nested last."""
    others = ((name.replace("_", " "), value) for name, value in config.settings.items() if name != "image_size")
    return {
        "backbone": backbone_title(config.backbone_name),
        "backbone fingerprint": config.backbone_fingerprint,
        "image size": "{0} x {0} pixels, squashed".format(config.settings["image_size"]),
        **dict(sorted(others, key=lambda item: isinstance(item[1], Mapping))),
        "dualcoop version": config.dualcoop_version,
    }


def _rows(values: object, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Rows of nested values, none of what is no mapping; long lists stay in config.json."""
    for name, value in values.items() if isinstance(values, Mapping) else ():
        title = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _rows(value, f"{title}: ")
        elif isinstance(value, list):
            long = len(value) > 8 or any(isinstance(each, list | dict) for each in value)
            yield title, f"{len(value)} values, in `config.json`" if long else ", ".join(map(str, value))
        elif value is not None:
            yield title, f"{value:.6g}" if isinstance(value, float) else str(value)


def shared_backbone_name(name: str) -> str:
    """A backbone's name without the folders of a local checkpoint, which are nobody else's business."""
    before, mark, path = name.partition("@")
    if mark:
        return f"{before}@{Path(path).name}"
    return Path(name).name if Path(name).is_absolute() else name


def backbone_title(name: str) -> str:
    """The same as a reader wants it: model and tag, and the file in parentheses."""
    before, mark, file = shared_backbone_name(name).partition("@")
    return f"{before} ({file})" if mark else before
