"""Downloads, with a hub that is faked."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

from dualcoop.backbones.loading import download
from dualcoop.errors import BackboneError

RECORD = {"hf_hub": "owner/name/", "url": "https://example.org/clip/RN50.pt"}


class FakeHub:
    """Repositories as a dictionary; counts what is asked for."""

    def __init__(self, files: dict[str, Path], cached: Sequence[str] = ()) -> None:
        self.files = files
        self.cached = cached
        self.downloads: list[str] = []

    def download(self, repository: str, filename: str) -> str:
        place = f"{repository}/{filename}"
        self.downloads.append(place)
        if place not in self.files:
            raise EntryNotFoundError(f"404: {place}")
        return str(self.files[place])

    def cache(self, repository: str, filename: str) -> str | None:
        place = f"{repository}/{filename}"
        return str(self.files[place]) if place in self.cached else None


def install(monkeypatch: pytest.MonkeyPatch, fake: FakeHub, *, network: bool = True) -> FakeHub:
    def no_network(endpoint: str) -> None:
        raise OSError("no network")

    monkeypatch.setattr(download, "hf_hub_download", fake.download)
    monkeypatch.setattr(download, "try_to_load_from_cache", fake.cache)
    monkeypatch.setattr(download, "require_network", (lambda endpoint: None) if network else no_network)
    return fake


def refuse_address(url: str) -> str:
    raise OSError(f"cannot reach {url}")


def test_safetensors_win_over_pickles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    files = {f"owner/name/{name}": tmp_path / name for name in download.WEIGHT_FILES}
    install(monkeypatch, FakeHub(files))
    assert download.fetch_weights("RN50/openai", RECORD) == tmp_path / "open_clip_model.safetensors"


def test_pickles_are_taken_where_there_is_nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    name = "open_clip_pytorch_model.bin"
    install(monkeypatch, FakeHub({f"owner/name/{name}": tmp_path / name}))
    assert download.fetch_weights("RN50/openai", RECORD) == tmp_path / name


def test_a_record_may_name_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = install(monkeypatch, FakeHub({"owner/name/model.bin": tmp_path / "model.bin"}))
    assert download.fetch_weights("X/y", {"hf_hub": "owner/name/model.bin"}) == tmp_path / "model.bin"
    assert fake.downloads == ["owner/name/model.safetensors", "owner/name/model.bin"]


def test_cached_weights_need_no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = "owner/name/open_clip_pytorch_model.bin"
    fake = install(monkeypatch, FakeHub({place: tmp_path / "x.bin"}, cached=[place]), network=False)
    assert download.fetch_weights("RN50/openai", RECORD) == tmp_path / "x.bin"
    assert fake.downloads == []


def test_the_direct_address_is_the_second_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    install(monkeypatch, FakeHub({}))
    monkeypatch.setattr(download, "download_pretrained_from_url", lambda url: str(tmp_path / Path(url).name))
    assert download.fetch_weights("RN50/openai", RECORD) == tmp_path / "RN50.pt"


def test_without_a_network_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = install(monkeypatch, FakeHub({}), network=False)
    monkeypatch.setattr(download, "download_pretrained_from_url", refuse_address)
    with pytest.raises(BackboneError) as caught:
        download.fetch_weights("RN50/openai", RECORD)
    message = str(caught.value)
    assert "no network" in message
    assert "open_clip_model.safetensors of owner/name" in message
    assert 'create_backbone("RN50/openai", pretrained="path/to/that/file")' in message
    assert '"lite"' in message
    assert fake.downloads == []


def test_without_a_repository_the_error_names_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "download_pretrained_from_url", refuse_address)
    with pytest.raises(BackboneError, match=r"fetch https://example\.org/clip/RN50\.pt on another"):
        download.fetch_weights("RN50/openai", {"url": RECORD["url"]})


def test_a_connection_that_breaks_is_not_tried_again_for_another_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = []

    def offline(repository: str, filename: str) -> str:
        tried.append(filename)
        raise LocalEntryNotFoundError("connection lost")

    install(monkeypatch, FakeHub({}))
    monkeypatch.setattr(download, "hf_hub_download", offline)
    with pytest.raises(BackboneError, match="connection lost"):
        download.fetch_hub_model("owner/name")
    assert tried == ["open_clip_config.json"]


def test_a_repository_in_another_layout_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, FakeHub({}))
    with pytest.raises(BackboneError, match=r"hf-hub:owner/name.*404.*open_clip_config\.json.*layout"):
        download.fetch_hub_model("owner/name")


def test_unknown_hosts_fail_at_once_unless_there_is_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(host: str, port: object) -> list[object]:
        raise OSError("Name or service not known")

    monkeypatch.setattr(download.socket, "getaddrinfo", unknown)
    monkeypatch.setattr(download, "getproxies", dict)
    with pytest.raises(OSError, match=r"no network: hub\.example\.org cannot be found"):
        download.require_network("https://hub.example.org/api")
    monkeypatch.setattr(download, "getproxies", lambda: {"https": "http://proxy:80"})
    download.require_network("https://hub.example.org/api")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{broken", "cannot be read as JSON"),
        ("[1, 2]", "is not an open_clip config"),
        (json.dumps({"architectures": ["CLIPModel"]}), "is not an open_clip config"),
        (json.dumps({"model_cfg": {"embed_dim": 3}}), "embed_dim, vision_cfg, text_cfg"),
    ],
)
def test_other_configs_are_refused(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "open_clip_config.json"
    path.write_text(content)
    with pytest.raises(BackboneError, match=message):
        download.read_config(path)


def test_folders_without_config_or_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"has no open_clip_config\.json"):
        download.read_folder(tmp_path)
    config = {"model_cfg": {"embed_dim": 1, "vision_cfg": {}, "text_cfg": {}}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(BackboneError, match=r"has no weights; expected open_clip_model\.safetensors or"):
        download.read_folder(tmp_path)
    (tmp_path / "open_clip_model.safetensors").touch()
    assert download.read_folder(tmp_path) == (config, tmp_path / "open_clip_model.safetensors")
