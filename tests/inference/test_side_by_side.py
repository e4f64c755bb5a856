"""Batches computed side by side, against one after the other."""

import threading
from collections.abc import Iterator

import pytest
import torch

from backbones.tiny_models import tiny_backbone
from dualcoop import DualCoOp
from dualcoop.errors import ConfigError, DataError
from dualcoop.inference.side_by_side import MOST_STREAMS, side_by_side, streams

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def threads_of_a_new_thread() -> int:
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


def test_results_come_in_order_with_their_batches() -> None:
    first_may_go = threading.Event()

    def square(number: int) -> int:
        if number == 0:
            assert first_may_go.wait(30)
        first_may_go.set()
        return number**2

    assert list(side_by_side(range(20), square, CPU)) == [(number, number**2) for number in range(20)]


def test_batches_are_computed_at_the_same_time_with_a_share_of_the_threads() -> None:
    both = threading.Barrier(2, timeout=30)

    def compute(_: int) -> int:
        both.wait()
        return torch.get_num_threads()

    results = side_by_side(range(4), compute, CPU)
    assert next(results) == (0, 1)
    assert threads_of_a_new_thread() == 2
    assert [threads for _, threads in results] == [1] * 3
    assert torch.get_num_threads() == 2


def test_autocast_of_the_caller_holds() -> None:
    weight = torch.ones(2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        found = [result.dtype for _, result in side_by_side([weight] * 2, lambda each: each @ each, CPU)]
    assert found == [torch.bfloat16] * 2
    assert next(side_by_side([weight], lambda each: each @ each, CPU))[1].dtype == torch.float32


def test_few_batches_are_taken_ahead() -> None:
    taken: list[int] = []

    def batches() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    results = side_by_side(batches(), lambda number: number, CPU)
    next(results)
    assert len(taken) <= streams(CPU) + 1
    results.close()
    assert threads_of_a_new_thread() == 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("dualcoop-compute")]


def test_what_came_before_a_failing_batch_is_given_first() -> None:
    def batches() -> Iterator[int]:
        yield 1
        yield 2
        raise DataError("the third cannot be read")

    results = side_by_side(batches(), lambda number: number, CPU)
    assert [next(results), next(results)] == [(1, 1), (2, 2)]
    with pytest.raises(DataError, match="third"):
        next(results)


def test_an_error_of_the_computation_is_the_callers() -> None:
    with pytest.raises(ZeroDivisionError):
        list(side_by_side([1, 0, 2], lambda number: 1 // number, CPU))
    assert [number for number, _ in side_by_side([1, 2], lambda _: torch.get_num_threads(), CPU)] == [1, 2]


def test_batches_that_were_not_begun_are_left_when_it_is_closed() -> None:
    begun: list[int] = []
    second_may_go = threading.Event()

    def compute(number: int) -> None:
        begun.append(number)
        if number:
            assert second_may_go.wait(30)

    results = side_by_side(range(4), compute, CPU)
    next(results)
    threading.Timer(0.2, second_may_go.set).start()
    results.close()
    assert 3 not in begun


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


def test_who_asks_meanwhile_gets_results_one_after_the_other() -> None:
    outer = side_by_side(range(3), lambda number: number, CPU)
    next(outer)
    inner = list(side_by_side(range(3), lambda _: torch.get_num_threads(), CPU))
    assert inner == [(0, 2), (1, 2), (2, 2)]
    assert [number for number, _ in outer] == [1, 2]


@pytest.mark.parametrize(("threads", "expected"), [(1, 1), (2, 2), (3, 3), (6, 3), (7, 3), (10, 2), (64, MOST_STREAMS)])
def test_streams_follow_the_threads(threads: int, expected: int) -> None:
    torch.set_num_threads(threads)
    assert streams(CPU) == expected


def test_an_accelerator_has_one_stream() -> None:
    assert streams(torch.device("cuda")) == 1
    results = side_by_side(range(3), lambda _: threading.current_thread(), torch.device("cuda"))
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
    torch.testing.assert_close(model.encode_images(images, batch_size=4), expected, rtol=1e-4, atol=1e-5)
    assert sorted(sizes) == [1, 3, 3, 3]
