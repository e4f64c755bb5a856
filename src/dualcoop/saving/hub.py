"""Saved models on the Hugging Face Hub."""

import os
import re
import tempfile
from pathlib import Path

from dualcoop.errors import AnyOf, ConfigError, ModelError, Only, Option
from dualcoop.network import RegionClassifier
from dualcoop.saving.config import CONFIG_FILE, is_saved_model
from dualcoop.saving.folder import BACKBONE_FILE, CARD_FILE, TENSORS_FILE, TEXT_FILE, save_model

HUB_PREFIX = "hf-hub:"
REPOSITORY = re.compile(r"\w[\w.-]*/\w[\w.-]*")
FILES = [CONFIG_FILE, TENSORS_FILE, TEXT_FILE, BACKBONE_FILE, CARD_FILE]


def find_model(name_or_path: str | os.PathLike[str], *, revision: str | None = None, token: str | None = None) -> Path:
    """The folder of a saved model: itself, or downloaded when `name_or_path` is "owner/name" on the hub.

    Raises:
        ModelError: when a folder holds no saved model, or the hub has none of that name or cannot be reached.
        ConfigError: when the name can be no saved model.
    """
    name = os.fspath(name_or_path)
    path = Path(name).expanduser()
    if is_saved_model(path):
        return path
    if path.is_dir():
        raise ModelError(f"{path}: the folder holds no saved model ({CONFIG_FILE} with a DualCoOp model is missing)")
    repository = name.removeprefix(HUB_PREFIX)
    if path.exists() or not REPOSITORY.fullmatch(repository) or _names_a_backbone(name):
        python = f"name the classes of a new one: DualCoOp.from_pretrained({name!r}, classes=[...])"
        shell = "give the folder that `dualcoop train` wrote, or owner/name on the hub"
        remedy = AnyOf(Only("python", python), Only("shell", shell))
        raise ConfigError(f"{name!r} is not a saved model", remedy=remedy)
    # The configuration comes first: some other model's tensors may be gigabytes.
    if not is_saved_model(_download(repository, [CONFIG_FILE], revision, token)):
        backbone = HUB_PREFIX + repository
        ways = (
            Only("python", f"class names: DualCoOp.from_pretrained({backbone!r}, classes=[...])"),
            Only("shell", AnyOf((Option("backbone", backbone), " instead, and what to look for"), backbone)),
        )
        what = f"{repository} on the hub is no saved DualCoOp model"
        raise ModelError(what, remedy=("if it is a backbone, give ", AnyOf(*ways)))
    return _download(repository, FILES, revision, token)


def push_model(model: RegionClassifier, repo_id: str, *, private: bool, token: str | None, commit_message: str) -> str:
    """Save a model into a hub repository, made if need be, and return the repository's address.

    Raises:
        ModelError: when the hub refuses or cannot be reached.
    """
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory() as folder:
        save_model(model, folder, shared=True)
        # The client lets errors of several libraries through; to the user all mean that the upload failed.
        try:
            api = HfApi(token=token)
            address = str(api.create_repo(repo_id, private=private, exist_ok=True))
            api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=commit_message)
        except Exception as error:
            what = f"the model could not be pushed to {repo_id} ({_first_line(error)})"
            ways = ("check the name and the network, and log in with `hf auth login` or give a ", Option("token"))
            raise ModelError(what, remedy=ways) from error
    return address


def _download(repository: str, files: list[str], revision: str | None, token: str | None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, revision=revision, token=token, allow_patterns=files))
    except Exception as error:
        what = f"{repository!r} is no folder here, and no saved model of that name came from the hub"
        remedy = ("check the name and the network", Only("python", "; if it is a backbone, give class names"))
        raise ModelError(f"{what} ({_first_line(error)})", remedy=remedy) from error


def _names_a_backbone(name: str) -> bool:
    from dualcoop.backbones import list_backbones

    known = {backbone.casefold() for backbone in list_backbones()}
    return name.casefold().replace("/", "-") in known or name.casefold().rpartition("/")[0] in known


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
