"""The cache as a whole: limits, eviction, places."""

import json
import os
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest

from cache.samples import encoding, keys, regions
from dualcoop.cache import FeatureCache, default_folder
from dualcoop.cache import folder as folder_module
from dualcoop.cache.folder import encodings, stored_files
from dualcoop.errors import ConfigError

ROWS = 10


def fill(cache, first, used, **changes):
    """One shard of ten rows that was last used at this time."""
    store = cache.store(encoding(**changes))
    numbers = range(first, first + ROWS)
    before = {file.path for file in stored_files(cache.folder)}
    store.append(keys(*numbers), regions(*numbers))
    store.flush()
    (path,) = {file.path for file in stored_files(cache.folder)} - before
    os.utime(path, (used, used))
    return path


def has(cache, number, **changes):
    return cache.store(encoding(**changes)).lookup(keys(number)).shard[0] >= 0


def limited(folder, shards):
    """A cache with room for this many of these shards."""
    size = fill(FeatureCache(folder.parent / "measure", 1), 0, 0).stat().st_size
    return FeatureCache(folder, (shards * size + size // 2) / 2**30)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


def test_features_are_found_in_the_same_encoding_only(folder):
    cache = FeatureCache(folder, 1)
    fill(cache, 0, 100)
    assert has(FeatureCache(folder, 1), 3)
    assert not has(cache, 3, image_size=64)
    assert not has(cache, 3, fingerprint="0" * 64)


def test_every_encoding_says_what_it_is(folder):
    cache = FeatureCache(folder, 1)
    fill(cache, 0, 100)
    fill(cache, 0, 100, image_size=64)
    assert {each for _, each in encodings(folder)} == {encoding(), encoding(image_size=64)}


def test_a_description_of_another_encoding_is_not_believed(folder):
    path = fill(FeatureCache(folder, 1), 0, 100)
    (path.parent / "encoding.json").write_text(json.dumps(encoding(image_size=64).to_dict()))
    assert [each for _, each in encodings(folder)] == [None]


def test_what_was_used_longest_ago_goes_first_whatever_its_encoding(folder):
    cache = limited(folder, 2)
    fill(cache, 0, 200)
    fill(cache, 0, 100, image_size=64)
    fill(cache, 10, 300)
    assert has(cache, 0)
    assert not has(cache, 0, image_size=64)
    assert has(cache, 10)


def test_looking_up_counts_as_use(folder):
    cache = limited(folder, 2)
    fill(cache, 0, 100)
    fill(cache, 10, 200)
    assert has(cache, 0)
    fill(cache, 20, 300)
    assert has(cache, 0)
    assert not has(cache, 10)


def test_the_cache_stays_within_its_limit(folder):
    cache = limited(folder, 3)
    for number in range(8):
        fill(cache, 10 * number, 100 + number)
    assert sum(file.size for file in stored_files(folder)) <= cache.size * 2**30
    assert [has(cache, 10 * number) for number in range(8)] == [False] * 5 + [True] * 3


def test_what_this_process_reads_from_is_never_evicted(folder):
    cache = limited(folder, 2)
    fill(cache, 0, 100)
    located = cache.store(encoding()).lookup(keys(0))
    os.utime(located.shards[0].path, (100, 100))
    fill(cache, 10, 200)
    fill(cache, 20, 300)
    assert has(cache, 0)
    assert not has(cache, 10)


def test_nothing_is_evicted_where_there_can_be_no_room(folder):
    cache = limited(folder, 2)
    fill(cache, 0, 100)
    assert not cache.make_room(2**30)
    assert has(cache, 0)


def test_a_full_disk_counts_as_no_room(folder, monkeypatch):
    cache = FeatureCache(folder, 1)
    usage = namedtuple("usage", "total used free")(10**6, 10**6, 50)
    monkeypatch.setattr(folder_module.shutil, "disk_usage", lambda place: usage)
    assert cache.make_room(50)
    assert not cache.make_room(51)


def test_leftovers_of_writers_that_were_killed_go_and_those_of_living_ones_stay(folder):
    cache = FeatureCache(folder, 1)
    path = fill(cache, 0, 100)
    old, new = (path.with_name(f"{name}.unfinished") for name in ("old", "new"))
    for each in (old, new):
        each.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    cache.make_room(1)
    assert not old.exists()
    assert new.exists()


def test_backups_are_told_to_leave_the_folder_out(folder):
    FeatureCache(folder, 1)
    assert (folder / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55\n")


def test_a_folder_that_cannot_be_made_is_an_error_with_a_remedy(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot be kept in .*file.*\. Give another cache folder, or go without"):
        FeatureCache(tmp_path / "file" / "cache", 1)


def test_the_folder_of_the_environment_comes_first(monkeypatch, tmp_path):
    monkeypatch.setenv("DUALCOOP_CACHE", str(tmp_path / "mine"))
    assert default_folder() == tmp_path / "mine"


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {}, "home/.cache/dualcoop/features"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "home/.cache/dualcoop/features"),
        ("darwin", {}, "home/Library/Caches/dualcoop/features"),
        ("win32", {}, "home/AppData/Local/dualcoop/features"),
    ],
)
def test_each_platform_has_its_place(monkeypatch, tmp_path, platform, variables, expected):
    for name in ("DUALCOOP_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    assert default_folder() == tmp_path / expected


def test_an_absolute_xdg_folder_is_used(monkeypatch, tmp_path):
    monkeypatch.delenv("DUALCOOP_CACHE", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_folder() == tmp_path / "xdg" / "dualcoop" / "features"
