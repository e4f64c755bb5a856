"""Looking up and appending, alone and beside others."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cache.samples import LAYOUTS, keys, regions
from dualcoop.cache import FeatureStore, store

LAYOUT = LAYOUTS["float16"]


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "store"


def filled(folder, *numbers):
    own = FeatureStore(folder, LAYOUT)
    own.append(keys(*numbers), regions(*numbers))
    own.flush()
    return own


def read(located):
    """What was found, row by row, None where nothing was."""
    pairs = zip(located.shard.tolist(), located.row.tolist(), strict=True)
    return [None if shard < 0 else located.shards[shard][row] for shard, row in pairs]


def assert_found(located, *numbers):
    """Features of these numbers, None for what must be missing."""
    for found, number in zip(read(located), numbers, strict=True):
        if number is None:
            assert found is None
        else:
            assert (found == regions(number)[0]).all()


def test_an_empty_store_has_nothing(folder):
    assert_found(FeatureStore(folder, LAYOUT).lookup(keys(1, 2)), None, None)


def test_what_was_appended_is_found_by_others_and_the_rest_is_missing(folder):
    filled(folder, 1, 2)
    filled(folder, 3)
    assert_found(FeatureStore(folder, LAYOUT).lookup(keys(3, 9, 2, 1)), 3, None, 2, 1)


def test_only_shards_that_are_needed_are_held(folder):
    filled(folder, 1)
    filled(folder, 2)
    assert len(FeatureStore(folder, LAYOUT).lookup(keys(2)).shards) == 1


def test_a_key_asked_for_twice_is_found_twice(folder):
    filled(folder, 1)
    assert_found(FeatureStore(folder, LAYOUT).lookup(keys(1, 1)), 1, 1)


def test_a_key_stored_twice_is_found_once(folder):
    filled(folder, 1, 2)
    filled(folder, 1, 1, 3)
    assert_found(FeatureStore(folder, LAYOUT).lookup(keys(1, 2, 3)), 1, 2, 3)


def test_rows_wait_for_flush(folder):
    own = FeatureStore(folder, LAYOUT)
    own.append(keys(1), regions(1))
    assert_found(own.lookup(keys(1)), None)
    own.flush()
    assert_found(own.lookup(keys(1)), 1)


def test_flushing_nothing_writes_nothing(folder):
    FeatureStore(folder, LAYOUT).flush()
    assert not folder.exists()


def test_many_rows_are_published_on_the_way(folder, monkeypatch):
    monkeypatch.setattr(store, "SHARD_BYTES", 3 * LAYOUT.bytes_per_row)
    own = FeatureStore(folder, LAYOUT)
    for number in range(7):
        own.append(keys(number), regions(number))
    assert_found(FeatureStore(folder, LAYOUT).lookup(keys(*range(7))), *range(6), None)


def test_slow_rows_are_published_on_the_way(folder, monkeypatch):
    clock = iter((0.0, 1.0, 29.0, 31.0))
    monkeypatch.setattr(store.time, "monotonic", lambda: next(clock))
    own = FeatureStore(folder, LAYOUT)
    for number in range(3):
        assert_found(FeatureStore(folder, LAYOUT).lookup(keys(0)), None)
        own.append(keys(number), regions(number))
    assert_found(FeatureStore(folder, LAYOUT).lookup(keys(0, 1, 2)), 0, 1, 2)


def test_room_is_made_for_what_is_published(folder):
    asked = []
    own = FeatureStore(folder, LAYOUT, asked.append)
    own.append(keys(1, 2), regions(1, 2))
    own.flush()
    assert asked == [2 * LAYOUT.bytes_per_row]


def test_own_shards_stay_within_reach_when_another_process_removes_them(folder):
    own = filled(folder, 1, 2)
    for path in folder.iterdir():
        path.unlink()
    assert_found(own.lookup(keys(2, 1)), 2, 1)


def test_a_damaged_row_is_missing_and_can_be_appended_again(folder):
    filled(folder, 1, 2)
    (path,) = folder.iterdir()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    own = FeatureStore(folder, LAYOUT)
    assert_found(own.lookup(keys(1, 2)), 1, None)
    own.append(keys(2), regions(2))
    own.flush()
    assert_found(FeatureStore(folder, LAYOUT).lookup(keys(1, 2)), 1, 2)


def test_shards_that_are_used_are_marked_so_and_others_are_not(folder):
    filled(folder, 1)
    filled(folder, 2)
    for path in folder.iterdir():
        os.utime(path, (1000, 1000))
    located = FeatureStore(folder, LAYOUT).lookup(keys(2))
    used = {path for path in folder.iterdir() if path.stat().st_mtime > 1000}
    assert used == {located.shards[0].path}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(share=st.floats(0, 1), published=st.booleans())
def test_a_writer_killed_at_any_byte_costs_its_last_shard_at_most(folder, share, published):
    """The write that was cut short lies under its unfinished name or, after a power cut, under its final one."""
    for path in folder.glob("*"):
        path.unlink()
    filled(folder, 1, 2)
    (first,) = folder.glob("*.regions")
    filled(folder, 3, 4)
    (second,) = set(folder.glob("*.regions")) - {first}
    content = second.read_bytes()
    second.unlink()
    cut = folder / ("cut.regions" if published else "cut.unfinished")
    cut.write_bytes(content[: int(share * len(content))])
    own = FeatureStore(folder, LAYOUT)
    located = own.lookup(keys(1, 2, 3, 4))
    missing = [number for number, shard in zip((1, 2, 3, 4), located.shard, strict=True) if shard < 0]
    assert_found(located, *[None if number in missing else number for number in (1, 2, 3, 4)])
    assert not {1, 2} & set(missing)
    if missing:
        own.append(keys(*missing), regions(*missing))
        own.flush()
    assert_found(FeatureStore(folder, LAYOUT).lookup(keys(1, 2, 3, 4)), 1, 2, 3, 4)


WRITER = """
import sys
from pathlib import Path
from cache.samples import LAYOUTS, keys, regions
from dualcoop.cache import FeatureStore
store = FeatureStore(Path(sys.argv[1]), LAYOUTS["float16"])
for number in range(int(sys.argv[2]), int(sys.argv[3])):
    store.append(keys(number), regions(number))
    store.flush()
    located = store.lookup(keys(*range(40)))
"""


def test_two_processes_at_once_lose_nothing(folder):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, folder, str(first), str(last)], env=environment)
        for first, last in ((0, 25), (15, 40))
    ]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    assert_found(FeatureStore(folder, LAYOUT).lookup(keys(*range(40))), *range(40))


def test_rows_are_read_from_the_map_and_not_kept_in_memory(folder):
    filled(folder, 1, 2)
    located = FeatureStore(folder, LAYOUT).lookup(keys(1, 2))
    assert all(isinstance(shard.regions, np.memmap) for shard in located.shards)
