"""Weights and configs from the Hugging Face hub or a project's own site, with errors that say what to do."""

import json
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from open_clip import download_pretrained_from_url

from dualcoop.backbones.loading.names import WEIGHT_FILES, first_line, hub_files, with_file
from dualcoop.errors import BackboneError

CONFIG_FILE = "open_clip_config.json"
CONFIG_KEYS = ("embed_dim", "vision_cfg", "text_cfg")


def fetch_weights(name: str, record: Mapping[str, Any]) -> Path:
    """The checkpoint file of an open_clip tag, from the cache or downloaded.

    The hub repository of open_clip's record comes first, its direct address second.

    Raises:
        BackboneError: when neither can be reached.
    """
    address = str(record.get("url", ""))
    repository, candidates = hub_files(record)
    reasons = []
    for source in filter(None, (repository, address)):
        # Network libraries raise errors of many kinds; all mean the same to the user.
        try:
            if source == repository:
                return fetch_file(repository, candidates)
            return Path(download_pretrained_from_url(address))
        except Exception as error:
            reasons.append(first_line(error))
    where = f"{candidates[0]} of {repository} on the Hugging Face hub" if repository else address
    raise BackboneError(
        f"the weights of {name} cannot be downloaded ({reasons[0]})",
        remedy=(
            f"without a network, fetch {where} on another computer and give it, ",
            with_file(name, "path/to/that/file"),
            ', or use "lite", which needs no download',
        ),
    )


def fetch_hub_model(repository: str) -> tuple[dict[str, Any], Path]:
    """Config and checkpoint file of a model in open_clip's layout on the hub, "owner/name".

    Raises:
        BackboneError: when it cannot be reached or is not in that layout.
    """
    try:
        config_file = fetch_file(repository, [CONFIG_FILE])
        weights = fetch_file(repository, WEIGHT_FILES)
    except Exception as error:
        raise BackboneError(
            f"hf-hub:{repository} cannot be loaded ({first_line(error)})",
            remedy=f"check the name, that the repository has {CONFIG_FILE} and {WEIGHT_FILES[0]} (open_clip's layout), "
            'and the network. Without one, copy both files into a folder and give its path, or use "lite", which needs '
            "no download",
        ) from error
    return read_config(config_file), weights


def fetch_file(repository: str, candidates: Sequence[str]) -> Path:
    """The first of some files that a hub repository has, from the cache or downloaded.

    Raises:
        OSError, huggingface_hub errors: when there is no network or no such file.
    """
    for filename in candidates:
        cached = try_to_load_from_cache(repository, filename)
        if isinstance(cached, str):
            return Path(cached)
    require_network(constants.ENDPOINT)
    for filename in candidates[:-1]:
        try:
            return Path(hf_hub_download(repository, filename))
        except EntryNotFoundError as error:
            if isinstance(error, LocalEntryNotFoundError):
                raise
    return Path(hf_hub_download(repository, candidates[-1]))


def require_network(endpoint: str) -> None:
    """Raise OSError at once where a host's name cannot be resolved, instead of after half a minute of retries."""
    host = urlsplit(endpoint).hostname
    # Behind a proxy the names need not be known here.
    if not host or getproxies():
        return
    try:
        socket.getaddrinfo(host, None)
    except OSError as error:
        raise OSError(f"no network: {host} cannot be found") from error


def read_folder(folder: Path) -> tuple[dict[str, Any], Path]:
    """Config and checkpoint file of a local folder in open_clip's hub layout.

    Raises:
        BackboneError: when one of the two is missing or the config cannot be read.
    """
    if not (folder / CONFIG_FILE).is_file():
        raise BackboneError(
            f"has no {CONFIG_FILE}; expected open_clip's hub layout, that and {WEIGHT_FILES[0]}", where=str(folder)
        )
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return read_config(folder / CONFIG_FILE), folder / name
    raise BackboneError(f"has no weights; expected {' or '.join(WEIGHT_FILES)}", where=str(folder))


def read_config(path: Path) -> dict[str, Any]:
    """Content of an open_clip_config.json with its "model_cfg".

    Raises:
        BackboneError: when it is not JSON or not such a config.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BackboneError(f"cannot be read as JSON ({first_line(error)})", where=str(path)) from error
    model_cfg = content.get("model_cfg") if isinstance(content, dict) else None
    if not isinstance(model_cfg, dict) or any(key not in model_cfg for key in CONFIG_KEYS):
        expected = f'"model_cfg" with {", ".join(CONFIG_KEYS)}'
        raise BackboneError(f"is not an open_clip config: expected {expected}", where=str(path))
    return content
