"""Listing, checking and clearing."""

import os

import pytest

from cache.samples import LAYOUTS, encoding, keys, regions
from cache.test_folder import fill, has
from dualcoop.cache import FeatureCache, check, clear, contents
from dualcoop.cache.folder import stored_files
from dualcoop.cache.shards import Shard


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "cache", 1)


def flip_last_bit(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_contents_are_counted_and_the_last_used_comes_first(cache):
    first = fill(cache, 0, 100)
    fill(cache, 10, 200)
    other = fill(cache, 0, 300, image_size=64)
    newer, older = contents(cache.folder)
    assert (newer.encoding, newer.rows, newer.shards, newer.used) == (encoding(image_size=64), 10, 1, 300)
    assert (older.encoding, older.rows, older.shards, older.used) == (encoding(), 20, 2, 200)
    assert (newer.size, older.size) == (other.stat().st_size, 2 * first.stat().st_size)


def test_listing_is_no_use(cache):
    fill(cache, 0, 100)
    contents(cache.folder)
    assert [file.used for file in stored_files(cache.folder)] == [100]


def test_a_folder_that_is_not_there_is_empty(tmp_path):
    assert contents(tmp_path / "nowhere") == []
    assert check(tmp_path / "nowhere") == []
    assert clear(tmp_path / "nowhere") == 0


def test_whole_shards_pass_the_check(cache):
    fill(cache, 0, 100)
    fill(cache, 0, 100, stored="int8")
    heard = []
    assert check(cache.folder, progress=lambda done, total: heard.append((done, total))) == []
    assert heard == [(1, 2), (2, 2)]


@pytest.mark.parametrize("stored", ["float16", "int8"])
def test_a_wrong_checksum_is_found_and_repaired_without_loss_of_the_other_rows(cache, stored):
    path = fill(cache, 0, 100, stored=stored)
    rows = list(range(9))
    before = Shard(path, LAYOUTS[stored])[rows].copy()
    flip_last_bit(path)
    (damage,) = check(cache.folder)
    assert (damage.path, damage.reason, damage.rows, damage.lost) == (path, "checksums differ", 9, 1)
    assert path.exists()
    check(cache.folder, repair=True)
    assert not path.exists()
    assert check(cache.folder) == []
    (file,) = stored_files(cache.folder)
    repaired = Shard(file.path, LAYOUTS[stored])
    assert repaired.keys() == keys(*rows)
    assert (repaired[rows] == before).all()


def test_a_shard_that_was_cut_off_is_repaired(cache):
    path = fill(cache, 0, 100)
    path.write_bytes(path.read_bytes()[:-1])
    (damage,) = check(cache.folder, repair=True)
    assert (damage.reason, damage.rows, damage.lost) == ("it was cut off, 1 row is missing", 9, 1)
    assert [has(cache, number) for number in (0, 8, 9)] == [True, True, False]


def test_a_shard_of_which_nothing_is_left_is_removed(cache):
    path = fill(cache, 0, 100)
    path.write_bytes(b"nothing")
    (damage,) = check(cache.folder, repair=True)
    assert damage.lost is None
    assert stored_files(cache.folder) == []


def test_shards_without_description_are_reported(cache):
    path = fill(cache, 0, 100)
    (path.parent / "encoding.json").write_text("{")
    (damage,) = check(cache.folder)
    assert "encoding.json beside it is missing or damaged" in damage.reason
    assert contents(cache.folder)[0].encoding is None


def test_clearing_everything_leaves_other_files_alone(cache):
    fill(cache, 0, 100)
    mine = cache.folder / "mine"
    mine.mkdir()
    (mine / "notes.txt").write_text("keep")
    size = sum(file.size for file in stored_files(cache.folder))
    assert clear(cache.folder) == size
    assert sorted(path.name for path in cache.folder.iterdir()) == ["CACHEDIR.TAG", "mine"]


@pytest.mark.parametrize("which", ["other", "0000000"])
def test_one_backbone_is_cleared_by_name_or_fingerprint(cache, which):
    fill(cache, 0, 100)
    fill(cache, 0, 100, backbone="other", fingerprint="0" * 64)
    assert clear(cache.folder, which)
    assert [each.encoding.backbone for each in contents(cache.folder)] == ["tiny"]


def test_what_is_read_from_stays_readable_after_clearing(cache):
    if os.name == "nt":
        pytest.skip("Windows keeps mapped files")
    fill(cache, 0, 100)
    located = cache.store(encoding()).lookup(keys(4))
    clear(cache.folder)
    assert (located.shards[0][located.row[0]] == regions(4)[0]).all()
