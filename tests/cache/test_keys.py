"""What identifies stored features."""

import json
from dataclasses import fields

import pytest

from cache.samples import encoding
from dualcoop.cache import Encoding, content_digests, view_key
from dualcoop.errors import ConfigError

OTHER = {
    "fingerprint": "0" * 64,
    "pooling": "attention",
    "image_size": 64,
    "precision": "bfloat16",
    "pixels": 2,
    "regions": 4,
    "dimensions": 5,
    "stored": "int8",
}


@pytest.mark.parametrize("name", [field.name for field in fields(Encoding) if field.name != "backbone"])
def test_everything_that_decides_the_features_gives_another_folder(name):
    assert encoding(**{name: OTHER[name]}).folder_name != encoding().folder_name


def test_folders_are_named_after_the_backbone_without_its_path():
    assert encoding(backbone="/home/me/weights/RN50 x.pt").folder_name.startswith("RN50-x.pt-")
    assert encoding(backbone="hf-hub:owner/name").folder_name.startswith("name-")


def test_an_encoding_survives_json():
    first = encoding(stored="int8")
    assert Encoding.from_dict(json.loads(json.dumps(first.to_dict()))) == first


@pytest.mark.parametrize(
    "values",
    [{}, [], {"format": 0}, {"format": 1}, encoding().to_dict() | {"more": 1}, encoding().to_dict() | {"stored": "x"}],
)
def test_what_is_no_encoding_is_refused(values):
    with pytest.raises(ValueError):  # noqa: PT011
        Encoding.from_dict(values)


def test_an_unknown_precision_is_refused():
    with pytest.raises(ConfigError, match="feature_precision is 'int4', expected one of float16, int8"):
        encoding(stored="int4")


def test_content_decides_and_neither_name_nor_time(tmp_path):
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path, content in zip(paths, (b"same", b"same", b"other"), strict=True):
        path.write_bytes(content)
    first, second, third = content_digests(paths)
    assert first == second != third
    paths[0].write_bytes(b"changed")
    assert content_digests(paths)[0] != first


def test_a_file_that_cannot_be_read_is_never_the_same_twice(tmp_path):
    assert len(set(content_digests([tmp_path / "gone", tmp_path / "gone", tmp_path]))) == 3


def test_views_of_a_image_have_keys_of_their_own():
    assert len({view_key(b"c" * 32, "plain"), view_key(b"c" * 32, "flip"), view_key(b"d" * 32, "plain")}) == 3
