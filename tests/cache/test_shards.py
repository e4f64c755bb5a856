"""One file of features: what is written is read, and what is damaged is not."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cache.samples import LAYOUTS, keys, regions
from dualcoop.cache import shards
from dualcoop.cache.quantised import QuantisedRegions, quantise
from dualcoop.cache.shards import Layout, Shard, ShardError, is_mapped, open_shard, write_shard

NUMBERS = (5, 1, 8)
ROWS = np.arange(3)
REUSED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def expected(stored):
    rows = regions(*NUMBERS)
    return rows if stored == "float16" else QuantisedRegions(*quantise(rows))[ROWS]


@pytest.fixture(params=["float16", "int8"])
def layout(request):
    return LAYOUTS[request.param]


@pytest.fixture
def path(tmp_path, layout):
    return write_shard(tmp_path / "new", layout, keys(*NUMBERS), regions(*NUMBERS))


def test_rows_come_back_bit_for_bit_with_their_keys(path, layout):
    shard = Shard(path, layout)
    assert shard.keys() == keys(*NUMBERS)
    assert (len(shard), shard.lost) == (3, 0)
    assert shard.sound(ROWS).all()
    assert (shard[ROWS] == expected(layout.stored)).all()
    assert shard[ROWS].dtype == shard.dtype


def test_float16_rows_are_memory_mapped(tmp_path):
    path = write_shard(tmp_path, LAYOUTS["float16"], keys(*NUMBERS), regions(*NUMBERS))
    assert isinstance(Shard(path, LAYOUTS["float16"]).regions, np.memmap)


def test_int8_rows_that_are_written_again_stay_the_same(tmp_path):
    layout = LAYOUTS["int8"]
    first = Shard(write_shard(tmp_path, layout, keys(*NUMBERS), regions(*NUMBERS)), layout)
    second = Shard(write_shard(tmp_path, layout, keys(*NUMBERS), first.regions), layout)
    assert (first[ROWS] == second[ROWS]).all()


def test_nothing_else_is_in_the_folder_when_a_shard_is_complete(path):
    assert list(path.parent.iterdir()) == [path]


def test_a_shard_that_cannot_be_completed_leaves_nothing(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shards.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_shard(tmp_path, LAYOUTS["float16"], keys(1), regions(1))
    assert list(tmp_path.iterdir()) == []


@REUSED_FOLDER
@given(share=st.floats(0, 1))
def test_a_file_cut_off_at_any_byte_gives_its_whole_rows_or_none(path, layout, share):
    content = path.read_bytes()
    cut = path.with_name("cut")
    cut.write_bytes(content[: int(share * len(content))])
    try:
        shard = Shard(cut, layout)
    except ShardError:
        return
    whole = ROWS[: len(shard)]
    assert len(shard) + shard.lost == 3
    assert shard.sound(whole).all()
    assert (shard[whole] == expected(layout.stored)[: len(shard)]).all()


def test_a_file_cut_off_in_its_last_row_keeps_the_others(path, layout):
    path.write_bytes(path.read_bytes()[:-1])
    shard = Shard(path, layout)
    assert (len(shard), shard.lost) == (2, 1)


@REUSED_FOLDER
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_bit_that_flipped_anywhere_is_never_taken_for_features(path, layout, place, bit):
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    changed = path.with_name("changed")
    changed.write_bytes(content)
    try:
        shard = Shard(changed, layout)
    except ShardError:
        return
    rows = np.arange(len(shard))
    for row in rows[shard.sound(rows)].tolist():
        assert shard.keys()[row] == keys(*NUMBERS)[row]
        assert (shard[row] == expected(layout.stored)[row]).all()


@pytest.mark.parametrize("content", [b"", b"no shard", b"\x93NUMPY\x01\x00"])
def test_something_else_is_no_shard(tmp_path, layout, content):
    path = tmp_path / "other.regions"
    path.write_bytes(content)
    with pytest.raises(ShardError, match="beginning is damaged"):
        Shard(path, layout)


@pytest.mark.parametrize("other", [Layout("float16", 2, 4), Layout("float16", 3, 5), Layout("int8", 3, 4)])
def test_rows_of_another_form_are_refused(tmp_path, other):
    path = write_shard(tmp_path, LAYOUTS["float16"], keys(1), regions(1))
    with pytest.raises(ShardError, match="something else"):
        Shard(path, other)


def test_a_shard_that_was_removed_is_checked_through_its_map(path, layout):
    shard = Shard(path, layout)
    path.unlink()
    assert shard.sound(ROWS).all()


def test_a_file_is_mapped_once_and_as_long_as_somebody_holds_it(path, layout):
    shard = open_shard(path, layout)
    assert open_shard(path, layout) is shard
    assert is_mapped(path)
    del shard
    assert not is_mapped(path)


def test_the_size_of_a_row_is_known_beforehand(tmp_path, layout):
    sizes = [
        write_shard(tmp_path, layout, keys(*numbers), regions(*numbers)).stat().st_size
        for numbers in (range(10), range(20))
    ]
    assert sizes[1] - sizes[0] == 10 * layout.bytes_per_row
