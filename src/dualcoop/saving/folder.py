"""Saved models: tensors in safetensors, everything else in JSON that a person can read, nothing pickled."""

import copy
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor

from dualcoop.backbones.base import Backbone
from dualcoop.backbones.loading.registry import place_backbone
from dualcoop.errors import BackboneError, ConfigError, ModelError, Only
from dualcoop.files import write_together
from dualcoop.network import DualCoOpNetwork, RegionClassifier
from dualcoop.prompts import TextFeatures
from dualcoop.saving.card import model_card, shared_backbone_name
from dualcoop.saving.config import CONFIG_FILE, SavedConfig, plain, read_config
from dualcoop.version import __version__

Model = TypeVar("Model", bound=RegionClassifier)

TENSORS_FILE = "model.safetensors"
TEXT_FILE = "text_features.safetensors"
BACKBONE_FILE = "backbone.safetensors"
CARD_FILE = "README.md"
CLASSES_KEY = "classes_sha256"
MADE_FROM_KEY = "made_from_sha256"


def save_model(model: RegionClassifier, folder: str | os.PathLike[str], *, shared: bool = False) -> None:
    """Write a model into a folder, which is made if need be; other files there stay.

    All files are written beside their places and moved into them when complete, config.json last. It holds
    the hashes of the tensor files, so a folder caught between two versions is noticed and never misread. The same
    model gives the same tensor files, byte for byte.

    Args:
        model: to save.
        folder: where to.
        shared: others get the files, so a backbone from a local checkpoint is named without its folders.

    Raises:
        ModelError: when the folder cannot be written, or the training record holds no JSON values.
    """
    folder = Path(folder)
    contents = {TENSORS_FILE: _to_bytes(model.tensors(), {CLASSES_KEY: _classes_hash(model.classes)})}
    if model.backbone_delta:
        states = model.backbone.state_dict()
        if missing := sorted(model.backbone_delta - states.keys()):
            raise ModelError(f"backbone_delta names {missing[0]!r}, which {model.backbone.name} does not have")
        contents[BACKBONE_FILE] = _to_bytes({name: states[name] for name in model.backbone_delta})
    config = SavedConfig(
        classes=model.classes,
        settings=model.settings(),
        backbone_name=shared_backbone_name(model.backbone.name) if shared else model.backbone.name,
        backbone_fingerprint=model.backbone_fingerprint(),
        finetuned=bool(model.backbone_delta),
        files=_hashes(contents),
        training_record=plain(model.training_record),
        method=model.method,
    )
    if isinstance(model, DualCoOpNetwork):
        with torch.no_grad():
            text = model.text_features()
        constants = {name: value.float() for name, value in text.items()}
        text_contents = {TEXT_FILE: _to_bytes(constants, {MADE_FROM_KEY: _made_from(config)})}
        config = replace(config, files=config.files | _hashes(text_contents))
        contents |= text_contents
    contents[CARD_FILE] = model_card(config).encode()
    contents[CONFIG_FILE] = (json.dumps(config.to_dict(), indent=2, ensure_ascii=False) + "\n").encode()
    try:
        write_together(folder, contents)
        for name in (BACKBONE_FILE, TEXT_FILE):
            if name not in contents:
                (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise ModelError(f"{folder}: the model cannot be saved here ({error.strerror or error})") from error


def load_model(
    folder: Path,
    kind: type[Model],
    classes: Sequence[str] | None = None,
    *,
    device: str | torch.device = "auto",
    backbone: Backbone | None = None,
    **instead: Any,
) -> Model:
    """Read a model that `save_model` wrote.

    Args:
        folder: where it is.
        kind: class of the model; its method must be the saved one's.
        classes: None, or the names that the caller relies on, which must be the model's own in its order.
        device: see `place_backbone`.
        backbone: instead of loading the saved name; it must be the very same. If tensors of it were
            fine-tuned with the model, a copy is taken and the caller's stays as it is.
        instead: settings instead of the saved ones, see `RegionClassifier.from_settings`.

    Raises:
        ModelError: when a file is missing or damaged, or belongs to another method, backbone or other classes.
    """
    config = read_config(folder)
    if config.method != kind.method:
        raise ModelError(
            f"a model of the method {config.method!r} was saved here, and {kind.__name__} is for {kind.method!r}",
            where=str(folder),
            remedy=Only("python", "open it with dualcoop.methods.registry.load_method, which takes any"),
        )
    if classes is not None and tuple(classes) != config.classes:
        raise ModelError(
            f"the model was saved for {len(config.classes)} classes, and {_difference(config.classes, classes)}",
            where=str(folder),
            remedy=Only("python", "load it without classes, then model.with_classes([...]) where its prompts allow it"),
        )
    tensors, metadata = _read_tensors(folder, TENSORS_FILE, config)
    if metadata.get(CLASSES_KEY) != _classes_hash(config.classes):
        raise ModelError(
            f"the classes are not those that {TENSORS_FILE} was saved for",
            where=str(folder / CONFIG_FILE),
            remedy=("put the original list back", Only("python", ", or load the original model and use with_classes")),
        )
    changed = _read_tensors(folder, BACKBONE_FILE, config)[0] if config.finetuned else {}
    own_backbone = _matching_backbone(folder, config, device, backbone)
    if changed:
        if backbone is not None:
            own_backbone = copy.deepcopy(own_backbone)
        states = own_backbone.state_dict()
        _copy_tensors(folder / BACKBONE_FILE, changed, {name: states[name] for name in changed if name in states})
    try:
        model = kind.from_settings(own_backbone, config.classes, config.settings, **instead)
    except (ConfigError, BackboneError) as error:
        raise ModelError(("the saved model cannot be built: ", error.message), where=str(folder)) from error
    _copy_tensors(folder / TENSORS_FILE, tensors, model.tensors())
    model.mark_finetuned(changed, config.backbone_fingerprint)
    model.training_record = config.training_record
    if isinstance(model, DualCoOpNetwork) and TEXT_FILE in config.files:
        _take_text_features(folder, config, model)
    return model


def _take_text_features(folder: Path, config: SavedConfig, model: DualCoOpNetwork) -> None:
    """Give the model the saved text features, unless its prompts were changed in config.json since."""
    constants, metadata = _read_tensors(folder, TEXT_FILE, config)
    if metadata.get(MADE_FROM_KEY) != _made_from(config):
        return
    prompts = model.prompts.config
    names, shape = prompts.names, (len(model.classes), model.backbone.embed_dim)
    found = {name: tuple(value.shape) for name, value in constants.items()}
    if found != dict.fromkeys(names, shape):
        what = f"{folder / TEXT_FILE}: holds {found}, this model needs {shape} of {' and '.join(names)}"
        raise ModelError(f"{what}; save the model again")
    model.keep_text_features(TextFeatures({name: constants[name] for name in names}, prompts.leading))


def _made_from(config: SavedConfig) -> str:
    """SHA-256 over all that decides text features: names, prompts, and backbone with their tensors."""
    tensors = [config.files.get(name) for name in (TENSORS_FILE, BACKBONE_FILE)]
    parts = [list(config.classes), config.settings["prompts"], config.backbone_fingerprint, tensors]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _hashes(contents: Mapping[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


def _classes_hash(classes: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(classes)).encode()).hexdigest()


def _to_bytes(tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """The content of a safetensors file; one metadata entry at most, since several come in random order."""
    contents = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in sorted(tensors.items())}
    return to_bytes(contents, metadata=metadata)


def _read_tensors(folder: Path, name: str, config: SavedConfig) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of one file, after its hash was compared."""
    path = folder / name
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != (expected := str(config.files.get(name))):
            raise ModelError(
                f"{path}: the content is not what {CONFIG_FILE} says (SHA-256 {found[:12]}..., expected {expected[:12]}"
                "...): it is cut off, was changed, or belongs to another model; save or download the model again"
            )
        with safe_open(path, framework="pt") as opened:
            return {key: opened.get_tensor(key) for key in opened.keys()}, opened.metadata() or {}  # noqa: SIM118
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); save or download the model again") from error
    except SafetensorError as error:
        raise ModelError(f"{path}: no valid safetensors ({error}); save or download the model again") from error


def _copy_tensors(path: Path, tensors: Mapping[str, Tensor], into: Mapping[str, Tensor]) -> None:
    """Copy by name, in place, where names and shapes agree exactly."""
    if tensors.keys() != into.keys():
        sides = (("missing", into.keys() - tensors.keys()), ("unknown", tensors.keys() - into.keys()))
        odd = " and ".join(f"{', '.join(sorted(names))} {how}" for how, names in sides if names)
        raise ModelError(
            f"{path}: tensors do not fit dualcoop {__version__} ({odd}); load the model with the version in "
            f"{CONFIG_FILE}, or train it again"
        )
    for name, tensor in tensors.items():
        if tensor.shape != into[name].shape:
            raise ModelError(f"{path}: {name} is {tuple(tensor.shape)}, this model needs {tuple(into[name].shape)}")
        with torch.no_grad():
            into[name].copy_(tensor)


def _matching_backbone(
    folder: Path, config: SavedConfig, device: str | torch.device, backbone: Backbone | None
) -> Backbone:
    """The backbone given or loaded by name, if it is the one the model was saved with."""
    try:
        placed = place_backbone(config.backbone_name, backbone, device)
    except BackboneError as error:
        what = (f"the model needs the backbone {config.backbone_name}, which cannot be loaded: ", error.message)
        python = Only("python", "pass backbone=create_backbone(...)")
        call = "DualCoOp.from_pretrained(FOLDER, backbone=create_backbone(...))"
        remedy = ("if you have it elsewhere, ", python, Only("shell", f"use the model in Python: {call}"))
        raise ModelError(what, where=str(folder), remedy=remedy) from error
    found = placed.fingerprint()
    if found != config.backbone_fingerprint:
        own = f"{config.backbone_name} (fingerprint {config.backbone_fingerprint[:12]}...)"
        other = f"{placed.name} (fingerprint {found[:12]}...), whose weights or settings differ"
        raise ModelError(f"{folder}: the model was saved with the backbone {own}, and would be wrong with {other}")
    return placed


def _difference(own: Sequence[str], wanted: Sequence[str]) -> str:
    missing = [name for name in wanted if name not in own]
    if missing:
        return f"{missing[0]!r} is not among them"
    return f"{len(wanted)} of them are asked for" if len(wanted) < len(own) else "they are asked for in another order"
