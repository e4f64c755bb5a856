"""Weights and configs from the Hugging Face hub or a project's own site, with errors that say what to do."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from open_clip import download_pretrained
from open_clip.pretrained import download_pretrained_from_hf

from dualcoop.errors import BackboneError

CONFIG_FILE = "open_clip_config.json"
CONFIG_KEYS = ("embed_dim", "vision_cfg", "text_cfg")
WEIGHT_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


def fetch_weights(name: str, pretrained_cfg: Mapping[str, Any]) -> Path:
    """The checkpoint file of an open_clip tag, from the cache or downloaded.

    Args:
        name: "MODEL/TAG", for messages.
        pretrained_cfg: open_clip's record of the tag; the hub comes first, the direct address second.

    Raises:
        BackboneError: when neither can be reached.
    """
    reasons = []
    # Network libraries raise errors of many kinds; all mean the same to the user.
    for prefer_hub in (True, False) if pretrained_cfg.get("url") else (True,):
        try:
            return Path(download_pretrained(dict(pretrained_cfg), prefer_hf_hub=prefer_hub))
        except Exception as error:
            reasons.append(_first_line(error))
    repository = str(pretrained_cfg.get("hf_hub", "")).strip("/")
    where = f"{WEIGHT_FILES[0]} of {repository} on the Hugging Face hub" if repository else "the weights"
    raise BackboneError(
        f"the weights of {name} cannot be downloaded ({reasons[0]}). Without a network, fetch {where} on "
        f'another computer and call create_backbone("{name}", pretrained="path/to/that/file"), or use '
        '"lite", which needs no download'
    )


def fetch_hub_model(repository: str) -> tuple[dict[str, Any], Path]:
    """Config and checkpoint file of a model in open_clip's layout on the hub.

    Args:
        repository: "owner/name".

    Returns:
        The content of open_clip_config.json, and the path of the weights.

    Raises:
        BackboneError: when it cannot be reached or is not in that layout.
    """
    try:
        config_file = Path(download_pretrained_from_hf(repository, filename=CONFIG_FILE))
        weights = Path(download_pretrained_from_hf(repository))
    except Exception as error:
        raise BackboneError(
            f"hf-hub:{repository} cannot be loaded ({_first_line(error)}): check the name, that the "
            f"repository has {CONFIG_FILE} and {WEIGHT_FILES[0]} (open_clip's layout), and the network. "
            'Without one, copy both files into a folder and give its path, or use "lite", which needs no '
            "download"
        ) from error
    return read_config(config_file), weights


def read_folder(folder: Path) -> tuple[dict[str, Any], Path]:
    """Config and checkpoint file of a local folder in open_clip's hub layout.

    Raises:
        BackboneError: when one of the two is missing or the config cannot be read.
    """
    if not (folder / CONFIG_FILE).is_file():
        raise BackboneError(
            f"{folder} has no {CONFIG_FILE}; expected a folder in open_clip's hub layout, "
            f"with {CONFIG_FILE} and {WEIGHT_FILES[0]}"
        )
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return read_config(folder / CONFIG_FILE), folder / name
    raise BackboneError(f"{folder} has no weights; expected {' or '.join(WEIGHT_FILES)}")


def read_config(path: Path) -> dict[str, Any]:
    """Content of an open_clip_config.json with its "model_cfg".

    Raises:
        BackboneError: when it is not JSON or not such a config.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BackboneError(f"{path} cannot be read as JSON ({_first_line(error)})") from error
    model_cfg = content.get("model_cfg") if isinstance(content, dict) else None
    if not isinstance(model_cfg, dict) or any(key not in model_cfg for key in CONFIG_KEYS):
        raise BackboneError(
            f'{path} is not an open_clip config: expected "model_cfg" with {", ".join(CONFIG_KEYS)}'
        )
    return content


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
