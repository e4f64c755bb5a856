"""Batches computed side by side, against one after the other."""

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
import torch

from backbones.tiny_models import assert_towers_agree, tiny_backbone
from dualcoop import DualCoOp
from dualcoop.errors import ConfigError, DataError
from dualcoop.inference.side_by_side import MOST_STREAMS, side_by_side, streams

CPU = torch.device("cpu")
SECONDS = 60
"""After which a thread that waits for another has failed."""


class Owner:
    """What a pool belongs to."""


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def threads_of_a_new_thread() -> int:
    with ThreadPoolExecutor(1) as newborn:
        return newborn.submit(torch.get_num_threads).result()


def this_thread(_: object) -> threading.Thread:
    return threading.current_thread()


def test_results_come_in_order_with_their_batches(owner: Owner) -> None:
    first_may_go = threading.Event()

    def square(number: int) -> int:
        if number == 0:
            assert first_may_go.wait(SECONDS)
        first_may_go.set()
        return number**2

    assert list(side_by_side(range(20), square, CPU, owner)) == [(number, number**2) for number in range(20)]


def test_batches_are_computed_at_the_same_time_with_a_share_of_the_threads(owner: Owner) -> None:
    both = threading.Barrier(2, timeout=SECONDS)

    def compute(_: int) -> int:
        both.wait()
        return torch.get_num_threads()

    results = side_by_side(range(4), compute, CPU, owner)
    assert next(results) == (0, 1)
    assert threads_of_a_new_thread() == 2
    assert [threads for _, threads in results] == [1] * 3
    assert torch.get_num_threads() == 2


def test_a_caller_with_threads_of_its_own_changes_those_of_no_other(owner: Owner) -> None:
    def with_three_threads() -> list[tuple[int, int]]:
        # Only a thread that has asked before keeps a number of its own.
        torch.get_num_threads()
        torch.set_num_threads(3)
        here.wait()
        there.wait()
        found = list(side_by_side(range(2), lambda _: torch.get_num_threads(), CPU, owner))
        assert torch.get_num_threads() == 3
        return found

    here, there = threading.Barrier(2, timeout=SECONDS), threading.Barrier(2, timeout=SECONDS)
    with ThreadPoolExecutor(1) as other:
        found = other.submit(with_three_threads)
        here.wait()
        torch.set_num_threads(2)
        there.wait()
        assert found.result(SECONDS) == [(0, 1), (1, 1)]
    assert threads_of_a_new_thread() == torch.get_num_threads() == 2


def test_autocast_of_the_caller_holds(owner: Owner) -> None:
    weight = torch.ones(2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        found = [result.dtype for _, result in side_by_side([weight] * 2, lambda each: each @ each, CPU, owner)]
    assert found == [torch.bfloat16] * 2
    assert next(side_by_side([weight], lambda each: each @ each, CPU, owner))[1].dtype == torch.float32


def test_few_batches_are_taken_ahead(owner: Owner) -> None:
    taken: list[int] = []

    def batches() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = side_by_side(batches(), lambda number: number, CPU, owner)
    next(results)
    assert len(taken) <= streams(CPU) + 1
    results.close()
    assert threads_of_a_new_thread() == 2


def test_what_came_before_a_failing_batch_is_given_first(owner: Owner) -> None:
    def batches() -> Iterator[int]:
        yield 1
        yield 2
        raise DataError("the third cannot be read")

    results = side_by_side(batches(), lambda number: number, CPU, owner)
    assert [next(results), next(results)] == [(1, 1), (2, 2)]
    with pytest.raises(DataError, match="third"):
        next(results)


def test_an_error_of_the_computation_is_the_callers(owner: Owner) -> None:
    with pytest.raises(ZeroDivisionError):
        list(side_by_side([1, 0, 2], lambda number: 1 // number, CPU, owner))
    assert list(side_by_side([1, 2], lambda number: 2 // number, CPU, owner)) == [(1, 2), (2, 1)]


def test_closing_leaves_what_was_not_begun_and_waits_for_what_was(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end = threading.Event()
    begun: list[int] = []
    ended: list[int] = []

    def compute(number: int) -> None:
        begun.append(number)
        if number:
            assert may_end.wait(SECONDS)
        ended.append(number)

    def waiting(futures: object) -> None:
        may_end.set()
        wait(futures)  # type: ignore[call-overload]

    monkeypatch.setattr("dualcoop.inference.side_by_side.wait", waiting)
    other_begun, other_may_end = threading.Event(), threading.Event()

    def other_compute(number: int) -> None:
        if number:
            other_begun.set()
            assert other_may_end.wait(SECONDS)

    other = side_by_side(range(2), other_compute, CPU, owner)
    next(other)
    assert other_begun.wait(SECONDS)
    # One thread is the other caller's, so that one of these batches waits for the other.
    results = side_by_side(range(3), compute, CPU, owner)
    next(results)
    results.close()
    assert 2 not in begun
    assert ended == begun
    other_may_end.set()
    assert len(list(other)) == 1


def test_a_caller_who_stops_asking_keeps_nobody_waiting(owner: Owner) -> None:
    slow = side_by_side(range(100), lambda number: number, CPU, owner)
    next(slow)
    with ThreadPoolExecutor(1) as elsewhere:
        quick = elsewhere.submit(lambda: list(side_by_side(range(9), lambda number: -number, CPU, owner)))
        assert quick.result(SECONDS) == [(number, -number) for number in range(9)]
    # Nor itself.
    assert list(side_by_side(range(3), lambda number: number, CPU, owner)) == [(0, 0), (1, 1), (2, 2)]
    assert [number for number, _ in slow] == list(range(1, 100))


def test_all_callers_share_the_threads_of_an_owner(owner: Owner) -> None:
    both = threading.Barrier(2, timeout=SECONDS)

    def meet(_: int) -> threading.Thread:
        both.wait()
        return threading.current_thread()

    mine = {thread for _, thread in side_by_side(range(2), meet, CPU, owner)}
    with ThreadPoolExecutor(1) as elsewhere:
        theirs = elsewhere.submit(lambda: {thread for _, thread in side_by_side(range(4), this_thread, CPU, owner)})
        assert theirs.result(SECONDS) <= mine
    assert len(mine) == 2
    assert not mine & {thread for _, thread in side_by_side(range(4), this_thread, CPU, Owner())}


def test_threads_end_with_their_owner(owner: Owner) -> None:
    mortal = Owner()
    threads = {thread for _, thread in side_by_side(range(4), this_thread, CPU, mortal)}
    del mortal
    gc.collect()
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive()


def test_inside_of_a_batch_batches_come_one_after_the_other(owner: Owner) -> None:
    def compute(number: int) -> list[tuple[int, threading.Thread]]:
        return list(side_by_side(range(number), this_thread, CPU, owner))

    def this_is(inner: list[tuple[int, threading.Thread]]) -> int:
        return len({thread for _, thread in inner})

    assert [this_is(inner) for _, inner in side_by_side([3] * 6, compute, CPU, owner)] == [1] * 6


def test_a_generator_that_ends_in_a_thread_of_its_own_does_not_wait_for_it(owner: Owner) -> None:
    may_close, closed = threading.Event(), threading.Event()

    def compute(number: int) -> None:
        if number == 1:
            assert may_close.wait(SECONDS)
            results.close()
            closed.set()

    results = side_by_side(range(3), compute, CPU, owner)
    next(results)
    may_close.set()
    assert closed.wait(SECONDS)


FORK = """
import os, sys, torch
from dualcoop.inference.side_by_side import side_by_side

torch.set_num_threads(2)
class Owner: pass
owner, device = Owner(), torch.device("cpu")
def results():
    return side_by_side(range(9), lambda number: number + 1, device, owner)
expected = list(zip(range(9), range(1, 10)))
assert list(results()) == expected
unfinished = results()
next(unfinished)
child = os.fork()
if child == 0:
    unfinished.close()
    os._exit(0 if list(results()) == expected else 3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert list(results()) == expected
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_starts_its_own_threads() -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORK], check=True, timeout=2 * SECONDS)


def test_class_names_are_encoded_once_and_before_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    model = DualCoOp.zero_shot("vit", ["dog", "sky"], backbone=tiny_backbone("vit"))
    threads: list[threading.Thread] = []
    encode = model.prompts.text_features

    def text_features(*arguments: object) -> object:
        threads.append(threading.current_thread())
        return encode(*arguments)

    monkeypatch.setattr(model.prompts, "text_features", text_features)
    size = model.image_size
    assert model.predict([]) == []
    with pytest.raises(ConfigError):
        model.predict([], on_error="hide")
    with pytest.raises(DataError):
        model.predict(["missing.jpg", "missing too.jpg"])
    with pytest.raises(ConfigError):
        model.predict(["a.jpg"], batch_size=0)
    assert threads == []
    model.predict([torch.randint(256, (size, size, 3), dtype=torch.uint8).numpy() for _ in range(8)], batch_size=2)
    assert threads == [threading.current_thread()]


@pytest.mark.parametrize(("threads", "expected"), [(1, 1), (2, 2), (3, 3), (6, 3), (7, 3), (10, 2), (64, MOST_STREAMS)])
def test_streams_follow_the_threads(threads: int, expected: int) -> None:
    torch.set_num_threads(threads)
    assert streams(CPU) == expected


def test_an_accelerator_has_one_stream() -> None:
    assert streams(torch.device("cuda")) == 1
    results = side_by_side(range(3), this_thread, torch.device("cuda"), Owner())
    assert {thread for _, thread in results} == {threading.current_thread()}


def test_batches_of_a_list_are_about_even(monkeypatch: pytest.MonkeyPatch) -> None:
    model = DualCoOp.zero_shot("vit", ["dog", "sky"], backbone=tiny_backbone("vit"))
    sizes: list[int] = []
    encode = model.encode_pixels
    monkeypatch.setattr(model, "encode_pixels", lambda pixels: sizes.append(len(pixels)) or encode(pixels))
    size = model.image_size
    images = [torch.randint(256, (size, size, 3), dtype=torch.uint8).numpy() for _ in range(10)]
    expected = torch.cat([model.encode_images(image) for image in images])
    sizes.clear()
    assert_towers_agree(model.encode_images(images, batch_size=4), expected)
    assert sorted(sizes) == [1, 3, 3, 3]
