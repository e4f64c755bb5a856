"""How a step's cost grows with the classes, and a run's with the images: measured as far as time allows."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import ceil

import torch

from benchmarks.options import Options, Row
from benchmarks.ours import PRECISION, Epoch, published_arguments, timed_model
from benchmarks.process_memory import peak_bytes
from benchmarks.settings import Setting, random_pixels, random_towers
from benchmarks.steps import published_step
from benchmarks.timing import Candidate, sample
from dualcoop import PromptConfig, TrainingArguments
from dualcoop.data.splits import seen_unseen_split
from dualcoop.features.encoding import encode

CLASSES = (20, 80, 320, 1000, 5000, 20_000)
IMAGES = (1_000, 10_000, 100_000, 1_000_000)
FEWEST_ENCODED = 100
# Beyond, a published step takes minutes, and memory in proportion.
MOST_CLASSES_PUBLISHED = 80
EPOCHS = 50
BATCH = 32
ENCODED_AT_ONCE = 32
FIGURE = "ours, s"
MEASURED, COMPUTED = "measured", "computed from measured rates"
HALF = 2


@dataclass(frozen=True)
class Point:
    """Cost at one size; `measured` is False where it was extrapolated."""

    size: int
    seconds: float
    peak: float | None
    measured: bool


def setting(names: Sequence[str], *, class_specific: bool, quick: bool) -> Setting:
    """RN50 at 224 pixels with 16 context vectors and 32 images a step; in a trial a small image and 2 images."""
    prompts = PromptConfig(
        16, 16, class_specific=class_specific, positive_init=None, negative_init=None, residual=False
    )
    return Setting("growth", "RN50", 64 if quick else 224, tuple(names), prompts, 2 if quick else BATCH)


def class_names(count: int) -> list[str]:
    """Distinct names: NUS-WIDE's 1,006 tags, then pairs of them."""
    tags = seen_unseen_split("nuswide-925-81").classes
    pairs = (f"{first} {second}" for first in tags for second in tags)
    return [*tags[:count], *islice(pairs, max(0, count - len(tags)))]


def extrapolated(points: Sequence[Point], size: int) -> Point:
    """Continue the line through the last two measured points, or through the origin where there is one alone."""
    known = [point for point in points if point.measured]
    last = known[-1]

    def continued(value: float, earlier: float, earlier_size: int) -> float:
        slope = (value - earlier) / (last.size - earlier_size)
        return max(value, value + slope * (size - last.size))

    earlier = Point(0, 0.0, 0.0, True) if len(known) == 1 else known[-2]
    peak = None
    if last.peak is not None and earlier.peak is not None:
        peak = continued(last.peak, earlier.peak, earlier.size)
    return Point(size, continued(last.seconds, earlier.seconds, earlier.size), peak, False)


def grown(sizes: Sequence[int], measure: Callable[[int], Point], budget: float) -> list[Point]:
    """A point for each size: measured while the next one is expected to end within the budget, then extrapolated.

    Args:
        sizes: ascending; the first is always measured.
        measure: size to Point.
        budget: seconds.
    """
    begin = time.perf_counter()
    points: list[Point] = []
    latest = 0.0
    for size in sizes:
        start = time.perf_counter()
        if points and (not points[-1].measured or start - begin + latest * size / points[-1].size > budget):
            points.append(extrapolated(points, size))
            continue
        points.append(measure(size))
        latest = time.perf_counter() - start
    return points


def classes(options: Options) -> list[Row]:
    """Step time and peak memory of text path and head, all classes in each step, shared contexts."""
    towers = random_towers("RN50", options)

    def our_point(count: int) -> Point:
        names = setting(class_names(count), class_specific=False, quick=options.quick)
        arguments = published_arguments(names, precision=PRECISION)
        step = Epoch(timed_model(names, towers.backbone), arguments, names.batch_size)
        return _point(count, step, options)

    def published_point(count: int) -> Point:
        names = setting(class_names(count), class_specific=False, quick=options.quick)
        return _point(count, published_step(names, towers, options), options)

    ours = grown(CLASSES, our_point, options.seconds(500))
    few = [count for count in CLASSES if count <= MOST_CLASSES_PUBLISHED]
    published = grown(few, published_point, options.seconds(50))
    published += [extrapolated(published, count) for count in CLASSES[len(few) :]]
    return [
        {
            "classes": mine.size,
            FIGURE: mine.seconds,
            "ours, peak GiB": None if mine.peak is None else mine.peak / 2**30,
            "ours": _how(mine.measured),
            "published, s": theirs.seconds,
            "published, peak GiB": None if theirs.peak is None else theirs.peak / 2**30,
            "published": _how(theirs.measured),
            "times faster": theirs.seconds / mine.seconds,
        }
        for mine, theirs in zip(ours, published, strict=True)
    ]


def images(options: Options) -> list[Row]:
    """A run of 50 epochs with 20 classes: encoding once and steps, against encoding and a step for every batch."""
    towers = random_towers("RN50", options)
    names = setting(class_names(20), class_specific=True, quick=options.quick)
    model = timed_model(names, towers.backbone)
    pixels = random_pixels(ENCODED_AT_ONCE, names.image_size, torch.device("cpu"))
    published = published_step(names, towers, options)
    published()
    published_seconds = sample(published).total

    def encoded(count: int) -> Point:
        start = time.perf_counter()
        for _ in range(ceil(count / ENCODED_AT_ONCE)):
            encode(model, pixels, PRECISION)
        return Point(count, time.perf_counter() - start, None, True)

    def epoch(count: int) -> Point:
        batch = TrainingArguments().images_per_step(count)
        arguments = replace(published_arguments(names, precision=PRECISION), batch_size=batch)
        step = Epoch(model, arguments, batch)
        step()
        expected = ceil(count / batch) * sample(step).total
        if expected > options.seconds(30):
            return Point(count, expected, None, False)
        return Point(count, sample(Epoch(model, arguments, count)).total, None, True)

    # A first call sets up kernels; it belongs to no size.
    encoded(1)
    encoding = grown((FEWEST_ENCODED, *IMAGES), encoded, options.seconds(60))[1:]
    epochs = [epoch(count) for count in IMAGES]
    rows: list[Row] = []
    for once, each in zip(encoding, epochs, strict=True):
        ours = once.seconds + EPOCHS * each.seconds
        theirs = EPOCHS * ceil(once.size / names.batch_size) * published_seconds
        rows.append(
            {
                "images": once.size,
                "encoding once, s": once.seconds,
                "encoding": _how(once.measured),
                "one epoch, s": each.seconds,
                "epoch": _how(each.measured),
                "features, GiB": once.size * names.regions * model.backbone.embed_dim * HALF / 2**30,
                FIGURE: ours,
                "published, s": theirs,
                "50 epochs": COMPUTED,
                "times cheaper": theirs / ours,
            }
        )
    return rows


def _point(size: int, step: Candidate, options: Options) -> Point:
    """Peak memory of the first call, seconds of the next without the encoding of images."""
    peak = peak_bytes(step, options.device)
    found = sample(step)
    return Point(size, found.total - found.stages.get("images", 0.0), peak, True)


def _how(measured: bool) -> str:
    return MEASURED if measured else COMPUTED
