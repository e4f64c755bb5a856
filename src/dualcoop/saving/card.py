"""The model card that is saved with a model: what it is, how it was made, what it reached, how to use it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dualcoop.counting import counted
from dualcoop.prompts import PromptConfig, TemplateConfig, prompts_from_dict
from dualcoop.saving.config import DEFAULT_METHOD, SavedConfig

CLASSES_SHOWN = 200


def model_card(config: SavedConfig) -> str:
    """Markdown with the Hub's metadata block, written from the saved configuration alone."""
    from huggingface_hub import ModelCard, ModelCardData

    metadata = ModelCardData(
        library_name="dualcoop",
        pipeline_tag="image-classification",
        tags=["multi-label", "dualcoop", "prompt-learning", "vision-language"],
    )
    training = config.training_record.get("training")
    metrics = config.training_record.get("metrics")
    sections = [
        f"---\n{metadata.to_yaml()}\n---",
        f"# A multi-label tagger for {counted(len(config.classes), 'class')}",
        _summary(config),
        f"## Use\n\n{_usage(config)}",
        f"## Classes\n\n{_classes(config.classes)}",
        _table("Training", training),
        _table("Measurements", metrics),
        f"## Limits\n\n{_limits(config, trained=bool(training), measured=bool(metrics))}",
        _table("Details", _details(config)),
    ]
    return str(ModelCard("\n\n".join(section for section in sections if section) + "\n"))


def _prompts(config: SavedConfig) -> PromptConfig | TemplateConfig | None:
    return prompts_from_dict(config.settings["prompts"]) if "prompts" in config.settings else None


def _summary(config: SavedConfig) -> str:
    prompts, told = _prompts(config), ""
    paper = "[DualCoOp](https://arxiv.org/abs/2206.09541)"
    kind = f"{paper} model" if config.method == DEFAULT_METHOD else f"`{config.method}` model of the package dualcoop"
    if isinstance(prompts, PromptConfig):
        whose = "class-specific" if prompts.class_specific else "shared by all classes"
        alone = " alone" if len(prompts.names) == 1 else ""
        told = f": learned {' and '.join(prompts.names)} prompts{alone}, {whose}"
    elif prompts is not None:
        told = ": hand-crafted templates"
    frozen = "with fine-tuned tensors, saved here" if config.finetuned else "frozen and not part of these files"
    return f"A {kind}{told}, over the vision-language backbone `{backbone_title(config.backbone_name)}` ({frozen})."


def _usage(config: SavedConfig) -> str:
    is_default = config.method == DEFAULT_METHOD
    load = "DualCoOp.from_pretrained" if is_default else "load_method"
    lines = [
        "```python",
        f"from dualcoop{'' if is_default else '.methods'} import {load.partition('.')[0]}",
        "",
        f'model = {load}("path/to/this/folder")  # or "owner/name" on the Hub',
        'print(model.predict("photo.jpg"))',
    ]
    prompts = _prompts(config)
    if isinstance(prompts, TemplateConfig) or (prompts is not None and not prompts.class_specific):
        lines.append('print(model.with_classes(["other", "names"]).predict("photo.jpg"))')
    return "\n".join([*lines, "```"])


def _classes(classes: tuple[str, ...]) -> str:
    shown = ", ".join(_escape(name) for name in classes[:CLASSES_SHOWN])
    more = len(classes) - CLASSES_SHOWN
    return shown + (f", and {more} more in `config.json`" if more > 0 else "")


def _limits(config: SavedConfig, *, trained: bool, measured: bool) -> str:
    lines = []
    if not trained and isinstance(_prompts(config), PromptConfig):
        lines.append("The training of these prompts is not recorded; they may be as initialised.")
    if not measured:
        lines.append("No measurements are recorded: try it on your own images before relying on it.")
    lines.append(
        "Scores are probabilities under this model, not calibrated beyond its thresholds; what the backbone "
        "learned from its own training data, biases included, carries over."
    )
    lines.append("Loading needs the backbone named above; any other is refused.")
    return "\n".join(f"- {line}" for line in lines)


def _details(config: SavedConfig) -> dict[str, Any]:
    numbers, groups = {}, {}
    for name, value in config.settings.items():
        if isinstance(value, Mapping):
            groups[name] = {key: each for key, each in value.items() if each is not None}
        elif name != "image_size":
            numbers[name.replace("_", " ")] = value
    return {
        "backbone": backbone_title(config.backbone_name),
        "backbone fingerprint": config.backbone_fingerprint,
        "image size": "{0} x {0} pixels, squashed".format(config.settings["image_size"]),
        **numbers,
        **groups,
        "dualcoop version": config.dualcoop_version,
    }


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


def _table(title: str, values: object) -> str:
    if not isinstance(values, Mapping) or not values:
        return ""
    rows = [f"| {_escape(name)} | {_escape(value)} |" for name, value in _flat(values)]
    return "\n".join([f"## {title}", "", "| | |", "|---|---|", *rows])


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Rows of nested values; long lists stay in config.json."""
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{name}: ")
        elif isinstance(value, float):
            rows.append((f"{prefix}{name}", f"{value:.6g}"))
        elif isinstance(value, list) and (len(value) > 8 or any(isinstance(v, list | dict) for v in value)):
            rows.append((f"{prefix}{name}", f"{len(value)} values, in `config.json`"))
        elif isinstance(value, list):
            rows.append((f"{prefix}{name}", ", ".join(map(str, value))))
        elif value is not None:
            rows.append((f"{prefix}{name}", str(value)))
    return rows


def _escape(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
