"""Backbones by name, hub repository, checkpoint file or folder."""

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dualcoop.backbones.base import Backbone
from dualcoop.backbones.loading import names
from dualcoop.devices import resolve_device
from dualcoop.errors import BackboneError, Option

HUB_PREFIX = "hf-hub:"


def create_backbone(
    name_or_path: str | os.PathLike[str],
    *,
    pretrained: str | os.PathLike[str] | None = None,
    device: str | torch.device | None = None,
) -> Backbone:
    """A frozen backbone in eval mode, float32.

    Accepted are

    - "lite", which ships with the package and needs no network;
    - an open_clip model, with or without a tag for its weights: "RN101" (OpenAI's weights where they exist),
      "RN50/yfcc15m", "ViT-B/32"; the tag may also be given as `pretrained`;
    - an open_clip model with a local checkpoint, `create_backbone("RN101/openai", pretrained="file.pt")` or,
      in one string, "RN101/openai@file.pt"; the tag then only says how the model was trained (activation,
      pixel statistics);
    - a checkpoint file alone, when its tensors tell the architecture (OpenAI's files, CLIP ResNets);
    - "hf-hub:owner/name" or a local folder, in open_clip's layout (open_clip_config.json and the weights).

    Args:
        name_or_path: one of the above.
        pretrained: tag or checkpoint file; only with the name of an open_clip model.
        device: where to put it; the CPU by default.

    Raises:
        BackboneError: for unknown or unsupported models, weights that cannot be had, and files that do not
            fit.
    """
    # Weights made in inference mode could not take part in the gradient of the prompts.
    with torch.inference_mode(False), torch.no_grad():
        backbone = _create(name_or_path, pretrained)
    return backbone if device is None else backbone.to(device)


def place_backbone(name: str, backbone: Backbone | None, device: str | torch.device = "auto") -> Backbone:
    """A backbone given or loaded by name, on a device (see `resolve_device`); a given one stays put under "auto"."""
    if backbone is not None:
        return backbone if device == "auto" else backbone.to(resolve_device(device))
    return create_backbone(name, device=resolve_device(device))


def _create(name_or_path: str | os.PathLike[str], pretrained: str | os.PathLike[str] | None) -> Backbone:
    if isinstance(name_or_path, os.PathLike):
        return _from_path(Path(name_or_path), pretrained)
    name = name_or_path.strip()
    if name.startswith(HUB_PREFIX):
        return _from_hub(name, pretrained)
    if name.casefold() in names.BUILT_IN:
        _refuse_pretrained(name, pretrained)
        module, function = names.BUILT_IN[name.casefold()].split(":")
        return getattr(import_module(module), function)()
    before, mark, after = name.partition(names.FILE_MARK)
    if mark and pretrained is None and names.split_tag(before) is not None:
        name, pretrained = before, Path(after)
    known = names.split_tag(name)
    if known is not None:
        return _from_open_clip(*known, pretrained)
    path = Path(name).expanduser()
    if name and (path.exists() or path.suffix in names.FILE_SUFFIXES):
        return _from_path(path, pretrained)
    raise names.unknown_name(name)


def _from_open_clip(model: str, tag: str | None, pretrained: str | os.PathLike[str] | None) -> Backbone:
    from dualcoop.backbones.loading.download import fetch_weights
    from dualcoop.backbones.loading.open_clip_models import check_supported
    from dualcoop.backbones.loading.state_dicts import is_openai, read_state_dict

    model_cfg = names.model_config(model)
    check_supported(model, model_cfg)
    file = _as_file(model, pretrained)
    if file is None:
        if tag is not None and pretrained is not None:
            what = f"two sets of weights are named, {tag!r} and {str(pretrained)!r}"
            raise BackboneError(what, remedy="keep one of them")
        tag = tag or str(pretrained or names.default_tag(model))
    base = model.removesuffix(names.QUICK_SUFFIX)
    quick_gelu = bool(model_cfg.get("quick_gelu"))
    if tag is not None:
        tag, record = names.tag_config(model, tag)
        name = f"{base}/{tag}"
        weights = file or fetch_weights(name, record)
        state = read_state_dict(weights)
        quick_gelu = quick_gelu or bool(record.get("quick_gelu"))
    else:
        assert file is not None
        name, record, weights = model, names.common_pixels(base), file
        state = read_state_dict(weights)
        # Every published CLIP ResNet has QuickGELU, and open_clip names the architecture without it.
        quick_gelu = quick_gelu or base.startswith("RN") or is_openai(state)
    if file is not None:
        name = f"{name}{names.FILE_MARK}{file.resolve()}"
    return _assemble({**model_cfg, "quick_gelu": quick_gelu}, weights, name, record, state)


def _from_hub(name: str, pretrained: str | os.PathLike[str] | None) -> Backbone:
    from dualcoop.backbones.loading.download import fetch_hub_model

    _refuse_pretrained(name, pretrained)
    content, weights = fetch_hub_model(name.removeprefix(HUB_PREFIX).strip("/"))
    return _assemble(content["model_cfg"], weights, name, content.get("preprocess_cfg"))


def _from_path(path: Path, pretrained: str | os.PathLike[str] | None) -> Backbone:
    from dualcoop.backbones.loading.download import read_folder
    from dualcoop.backbones.loading.state_dicts import infer_model_config, read_state_dict

    path = path.expanduser().resolve()
    _refuse_pretrained(str(path), pretrained)
    if path.is_dir():
        content, weights = read_folder(path)
        return _assemble(content["model_cfg"], weights, str(path), content.get("preprocess_cfg"), folder=path)
    state = read_state_dict(path)
    return _assemble(infer_model_config(state, path), path, str(path), None, state)


def _assemble(
    model_cfg: Mapping[str, Any],
    weights: Path,
    name: str,
    pixels: Mapping[str, Any] | None,
    state: Mapping[str, Tensor] | None = None,
    folder: Path | None = None,
) -> Backbone:
    """Of an open_clip config and a checkpoint file, or the tensors that were read from it already."""
    from dualcoop.backbones.loading import open_clip_models, state_dicts
    from dualcoop.backbones.loading.uninitialised import Uninitialised

    open_clip_models.check_supported(name, model_cfg)
    tokenizer = open_clip_models.build_tokenizer(model_cfg, folder)
    with Uninitialised():
        model = open_clip_models.build_open_clip(model_cfg)
    state_dicts.load_into(model, state_dicts.read_state_dict(weights) if state is None else state, str(weights))
    return open_clip_models.wrap_open_clip(model, name=name, tokenizer=tokenizer, preprocess_cfg=pixels)


def _as_file(model: str, pretrained: str | os.PathLike[str] | None) -> Path | None:
    """The checkpoint file that `pretrained` names, or None when it is a tag."""
    if pretrained is None:
        return None
    path = Path(pretrained).expanduser()
    if path.is_file():
        return path
    if isinstance(pretrained, os.PathLike) or path.suffix in names.FILE_SUFFIXES:
        raise BackboneError(f"there is no such checkpoint file for {model}", where=str(path))
    return None


def _refuse_pretrained(name: str, pretrained: str | os.PathLike[str] | None) -> None:
    if pretrained is not None:
        raise BackboneError(
            f"{name} comes with its own weights", remedy=("leave out ", Option("pretrained", str(pretrained)))
        )
