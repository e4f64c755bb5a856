"""What backbones and their weights are called."""

import difflib
from collections.abc import Mapping
from functools import cache
from pathlib import PurePath, PurePosixPath
from typing import Any

from dualcoop.errors import AnyOf, BackboneError, Only

BUILT_IN = {"lite": "dualcoop.backbones.lite:load_lite"}
"""Backbones of this project: lower-case name to module and the function there that makes one."""
DEFAULT_TAG = "openai"
WEIGHT_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
QUICK_SUFFIX = "-quickgelu"
SUGGESTIONS = 3
FILE_MARK = "@"
FILE_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")
PIXEL_KEYS = ("mean", "std", "interpolation")


def list_backbones() -> list[str]:
    """Names that `create_backbone` knows, without tags, files and hub repositories."""
    from dualcoop.backbones.loading.open_clip_models import unsupported_reason

    with_weights = [name for name in _models().values() if tags_of(name) and not name.endswith(QUICK_SUFFIX)]
    return [*BUILT_IN, *(name for name in with_weights if unsupported_reason(model_config(name)) is None)]


def list_pretrained(name: str) -> list[str]:
    """Tags of the weights that open_clip knows for a model; none for those of `BUILT_IN`.

    Raises:
        BackboneError: for an unknown model.
    """
    if name.casefold() in BUILT_IN:
        return []
    model = known_model(name)
    if model is None:
        raise unknown_name(name)
    return tags_of(model)


def known_model(name: str) -> str | None:
    """open_clip's spelling of a model's name; "ViT-B/32" and lower case are understood too."""
    return _models().get(name.replace("/", "-").casefold())


def split_tag(name: str) -> tuple[str, str | None] | None:
    """Model and tag of "MODEL" or "MODEL/TAG"; None when there is no such model."""
    model = known_model(name)
    if model is not None:
        return model, None
    before, slash, tag = name.rpartition("/")
    model = known_model(before) if slash else None
    return None if model is None else (model, tag)


def names_backbone(name: str) -> bool:
    """Whether `create_backbone` takes this for a known name or a checkpoint file, be it there or not."""
    model = name.partition(FILE_MARK)[0]
    return name.casefold() in BUILT_IN or PurePath(name).suffix in FILE_SUFFIXES or split_tag(model) is not None


def model_config(model: str) -> dict[str, Any]:
    """open_clip's config of a known model, a copy."""
    import open_clip

    return open_clip.get_model_config(model)


def tags_of(model: str) -> list[str]:
    """Tags of the weights that open_clip knows."""
    import open_clip

    return open_clip.list_pretrained_tags_by_model(model)


def default_tag(model: str) -> str:
    """OpenAI's weights, or the only ones.

    Raises:
        BackboneError: when there are none, or several and none of OpenAI's.
    """
    tags = tags_of(model)
    if DEFAULT_TAG in tags:
        return DEFAULT_TAG
    if len(tags) == 1:
        return tags[0]
    if not tags:
        raise BackboneError(f"open_clip knows no weights for {model}", remedy=("give a file, ", with_file(model)))
    raise BackboneError(
        f"there are several sets of weights for {model}: {', '.join(tags)}",
        remedy=f'name one, for example "{model}/{tags[0]}"',
    )


def tag_config(model: str, tag: str) -> tuple[str, dict[str, Any]]:
    """The tag in open_clip's spelling, and its record (addresses, pixel statistics, activation).

    Raises:
        BackboneError: for an unknown tag.
    """
    import open_clip

    clean = tag.lower().replace("-", "_")
    for name in (model, model.removesuffix(QUICK_SUFFIX)):
        found = open_clip.get_pretrained_cfg(name, clean)
        if found:
            return clean, found
    raise BackboneError(
        f"{tag!r} is neither a checkpoint file nor a set of weights for {model}; "
        f"known are {', '.join(tags_of(model)) or 'none'}"
    )


def hub_files(record: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Repository and names of files of a tag: open_clip writes "owner/name/", "owner/name/file.bin" or nothing."""
    owner, name, filename = ([*str(record.get("hf_hub", "")).split("/", 2), "", ""])[:3]
    if not filename:
        return f"{owner}/{name}".strip("/"), list(WEIGHT_FILES)
    safe = str(PurePosixPath(filename).with_suffix(".safetensors"))
    return f"{owner}/{name}", list(dict.fromkeys([safe, filename]))


def common_pixels(model: str) -> dict[str, Any]:
    """Pixel statistics on which all known weights of a model agree; empty where they do not."""
    records = [tag_config(model, tag)[1] for tag in tags_of(model)]
    choices = [{key: record[key] for key in PIXEL_KEYS if key in record} for record in records]
    return choices[0] if choices and all(choice == choices[0] for choice in choices) else {}


def unknown_name(name: str) -> BackboneError:
    """The error for a name that is nothing we know, with the closest ones."""
    spellings = {known.casefold(): known for known in list_backbones()}
    close = difflib.get_close_matches(name.casefold(), spellings, n=SUGGESTIONS)
    hint = (
        f"did you mean {' or '.join(spellings[match] for match in close)}?"
        if close
        else f"known are {', '.join(list(spellings.values())[:6])} and others."
    )
    return BackboneError(
        f"there is no backbone and no file called {name!r}",
        remedy=f"{hint} Checkpoint files, folders and hf-hub:owner/name are accepted too",
    )


def with_file(model: str, file: str = "path/to/file") -> AnyOf:
    """For remedies: a model with the weights of a file."""
    python = Only("python", f'create_backbone("{model}", pretrained="{file}")')
    return AnyOf(python, Only("shell", f"--backbone {model}{FILE_MARK}{file}"))


def first_line(error: Exception) -> str:
    """What another library's error says, in one line."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


@cache
def _models() -> dict[str, str]:
    """open_clip's spelling by lower-case name."""
    import open_clip

    return {name.casefold(): name for name in open_clip.list_models()}
