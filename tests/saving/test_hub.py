"""Models on the hub, which is replaced by a folder here."""

import json
import shutil

import huggingface_hub
import pytest

from dualcoop.errors import ConfigError, ModelError
from dualcoop.methods.dualcoop import DualCoOp
from tiny import TinyBackbone, tiny_image


class FolderHub:
    """Repositories as folders under `root`, with the functions of huggingface_hub that are used."""

    def __init__(self, root):
        self.root = root
        self.calls = []

    def snapshot_download(self, repo_id, *, revision=None, token=None, allow_patterns=None):
        self.calls.append(("download", repo_id, revision, token, tuple(allow_patterns)))
        if not (self.root / repo_id).is_dir():
            raise OSError(f"404 {repo_id}\nRequest ID: x")
        target = self.root / "cache" / repo_id
        target.mkdir(parents=True, exist_ok=True)
        for path in (self.root / repo_id).iterdir():
            if path.name in allow_patterns:
                shutil.copy(path, target)
        return str(target)

    def api(self):
        """A class in the place of HfApi, since other packages use that in annotations."""
        hub = self

        class Api:
            def __init__(self, token=None):
                self.token = token

            def create_repo(self, repo_id, *, private, exist_ok):
                hub.calls.append(("create", repo_id, private, exist_ok, self.token))
                return f"https://huggingface.co/{repo_id}"

            def upload_folder(self, *, repo_id, folder_path, commit_message):
                hub.calls.append(("upload", repo_id, commit_message))
                shutil.copytree(folder_path, hub.root / repo_id, dirs_exist_ok=True)

        return Api


@pytest.fixture
def hub(tmp_path, monkeypatch):
    fake = FolderHub(tmp_path / "hub")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fake.snapshot_download)
    monkeypatch.setattr(huggingface_hub, "HfApi", fake.api())
    return fake


@pytest.fixture
def model():
    return DualCoOp(TinyBackbone(), ["dog", "kite"])


@pytest.mark.parametrize("prefix", ["", "hf-hub:"])
def test_pushed_model_comes_back_the_same(hub, model, prefix):
    address = model.push_to_hub("me/tagger", private=True, token="secret", commit_message="first")
    assert address == "https://huggingface.co/me/tagger"
    assert hub.calls == [("create", "me/tagger", True, True, "secret"), ("upload", "me/tagger", "first")]
    loaded = DualCoOp.from_pretrained(f"{prefix}me/tagger", backbone=TinyBackbone(), revision="v1", token="secret")
    assert loaded.predict(tiny_image()) == model.predict(tiny_image())
    assert [call[:4] for call in hub.calls[2:]] == [("download", "me/tagger", "v1", "secret")] * 2


def test_pushed_folder_has_the_card_and_no_token(hub, model):
    model.push_to_hub("me/tagger", token="secret")
    files = {path.name: path.read_bytes() for path in (hub.root / "me/tagger").iterdir()}
    assert set(files) == {"model.safetensors", "text_features.safetensors", "config.json", "README.md"}
    assert not any(b"secret" in content for content in files.values())


@pytest.mark.parametrize(
    ("name", "shared"),
    [
        ("/home/someone/weights/RN50.pt", "RN50.pt"),
        ("RN101/openai@/home/someone/RN101.pt", "RN101/openai@RN101.pt"),
        ("hf-hub:timm/ViT-B-16-SigLIP", "hf-hub:timm/ViT-B-16-SigLIP"),
    ],
)
def test_pushed_folder_names_a_local_backbone_without_its_folders(hub, name, shared, tmp_path):
    model = DualCoOp(TinyBackbone(name=name), ["dog", "kite"])
    model.push_to_hub("me/tagger")
    config = json.loads((hub.root / "me/tagger/config.json").read_text())
    assert config["backbone"]["name"] == shared
    assert not any("someone" in path.read_text(errors="replace") for path in (hub.root / "me/tagger").iterdir())
    loaded = DualCoOp.from_pretrained("me/tagger", backbone=TinyBackbone(name=name))
    assert loaded.predict(tiny_image()) == model.predict(tiny_image())
    model.save_pretrained(tmp_path / "here")
    assert json.loads((tmp_path / "here" / "config.json").read_text())["backbone"]["name"] == name


def test_other_repositories_are_refused_before_their_weights_are_fetched(hub):
    (hub.root / "some/clip").mkdir(parents=True)
    (hub.root / "some/clip/config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(ModelError, match=r"no saved DualCoOp model. If it is a backbone.*'hf-hub:some/clip', classes"):
        DualCoOp.from_pretrained("some/clip")
    assert [call[4] for call in hub.calls] == [("config.json",)]


def test_missing_repository_is_named_with_the_hubs_reason_in_one_line(hub):
    with pytest.raises(ModelError, match=r"'me/nothing' is no folder here.*404 me/nothing") as caught:
        DualCoOp.from_pretrained("me/nothing")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["RN50/openai", "ViT-B/32", "lite", "a/b/c", "./out", "photo.jpg"])
def test_what_can_be_no_repository_is_not_looked_up(hub, name):
    with pytest.raises(ConfigError, match="is not a saved model"):
        DualCoOp.from_pretrained(name)
    assert hub.calls == []


def test_refused_upload_is_explained(hub, model, monkeypatch):
    def upload_folder(self, **options):
        raise OSError("401 Unauthorized\nmore")

    monkeypatch.setattr(huggingface_hub.HfApi, "upload_folder", upload_folder)
    with pytest.raises(ModelError, match=r"could not be pushed to me/tagger \(401 Unauthorized\).*hf auth login"):
        model.push_to_hub("me/tagger")
