"""One model, many threads that call it at once."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from backbones.tiny_models import tiny_backbone
from dualcoop.inference.prediction import Prediction
from dualcoop.methods.dualcoop import DualCoOp

CALLERS = 6
SECONDS = 120
"""After which a thread that waits for another has failed."""


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def model() -> DualCoOp:
    return DualCoOp.zero_shot("clip_resnet", ["dog", "sky", "kite"], backbone=tiny_backbone("clip_resnet"))


@pytest.fixture
def images(model: DualCoOp) -> list[np.ndarray]:
    side = model.image_size
    return list(np.random.default_rng(0).integers(256, size=(9, side, side, 3), dtype=np.uint8))


def at_once(call: Callable[[int], np.ndarray]) -> list[np.ndarray]:
    """What the calls of several threads give that all begin together."""
    all_are_there = threading.Barrier(CALLERS, timeout=SECONDS)

    def begin(number: int) -> np.ndarray:
        all_are_there.wait()
        return call(number)

    with ThreadPoolExecutor(CALLERS) as pool:
        return [each.result(SECONDS) for each in [pool.submit(begin, number) for number in range(CALLERS)]]


@pytest.mark.parametrize("count", [1, 9])
def test_all_get_what_they_would_get_alone(model: DualCoOp, images: list[np.ndarray], count: int) -> None:
    def scores(number: int) -> np.ndarray:
        some = (images[number:] + images[:number])[:count]
        return np.stack([list(each.scores.values()) for each in model.iter_predictions(some, 2)])

    # The first calls of all also race for the copies of the towers and the text features.
    found = at_once(scores)
    for number, mine in enumerate(found):
        np.testing.assert_allclose(mine, scores(number), rtol=1e-5, atol=1e-6)


def test_one_who_stops_in_the_middle_blocks_nobody(model: DualCoOp, images: list[np.ndarray]) -> None:
    stopped = model.iter_predictions(images, 1)
    next(stopped)
    expected = model.predict_proba(images, 1)
    other = DualCoOp.zero_shot("vit", ["dog", "sky"], backbone=tiny_backbone("vit"))
    for found in at_once(lambda _: model.predict_proba(images, 1)):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert len(at_once(lambda _: other.predict_proba(images))) == CALLERS
    assert len(list(stopped)) == len(images) - 1


def test_a_consumer_may_ask_the_model_that_it_consumes(model: DualCoOp, images: list[np.ndarray]) -> None:
    def both() -> list[tuple[Prediction, Prediction | list[Prediction]]]:
        return [(each, model.predict(images, 1)) for each in model.iter_predictions(images, 1)]

    with ThreadPoolExecutor(1) as elsewhere:
        found = elsewhere.submit(both).result(SECONDS)
    expected = model.predict(images, 1)
    assert [len(inner) for _, inner in found] == [len(images)] * len(images)
    assert [each.decisions for each, _ in found] == [each.decisions for each in expected]


def test_models_over_one_backbone_share_its_threads(model: DualCoOp, images: list[np.ndarray]) -> None:
    def computing(some: DualCoOp, monkeypatch: pytest.MonkeyPatch) -> set[threading.Thread]:
        threads: set[threading.Thread] = set()
        both = threading.Barrier(2, timeout=SECONDS)

        def encode(pixels: torch.Tensor) -> torch.Tensor:
            threads.add(threading.current_thread())
            both.wait()
            return pixels.new_zeros(len(pixels), *some.region_shape)

        monkeypatch.setattr(some, "encode_pixels", encode)
        some.encode_images(images[:8], 2)
        return threads

    with pytest.MonkeyPatch.context() as monkeypatch:
        assert computing(model, monkeypatch) == computing(model.with_classes(["sea"]), monkeypatch)
