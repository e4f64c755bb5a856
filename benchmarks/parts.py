"""The parts of the benchmarks: each measures one thing and gives rows of a table."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import growth, inference, memory, shares, start, steps, throughput, to_same_map, voc_run
from benchmarks.options import Options, Row


@dataclass(frozen=True)
class Part:
    """One part.

    Attributes:
        title: of its table.
        measure: gives the rows.
        figure: the column that a GPU's run fills in beside the processor's; None where it has no say.
        skipped: why it cannot run, None where it can.
    """

    title: str
    measure: Callable[[Options], list[Row]]
    figure: str | None = None
    skipped: Callable[[Options], str | None] = lambda options: None


PARTS = {
    "steps": Part("A training step", steps.measure, steps.FIGURE),
    "voc_run": Part("A run of 50 epochs over 5,011 images and 20 classes", voc_run.measure, voc_run.FIGURE),
    "to_same_map": Part("Photographs: time to the same validation mAP", to_same_map.measure, None, to_same_map.skipped),
    "shares": Part("Where the time of our step goes, and the floor", shares.measure, shares.FIGURE),
    "classes": Part("Growth with the number of classes", growth.classes, growth.FIGURE),
    "memory": Part(
        "Peak memory of a training step",
        lambda options: memory.measure(memory.QUICK if options.quick else memory.SETTINGS),
    ),
    "throughput": Part(
        "From files to predictions, beside the image encoder alone",
        lambda options: throughput.measure(
            rounds=1 if options.quick else throughput.ROUNDS, seconds=options.seconds(throughput.SECONDS)
        ),
    ),
    "inference": Part(
        "Ways to run a model, beside the image encoder alone", inference.measure, None, to_same_map.skipped
    ),
    "start": Part("Whole commands, from the start of the process", start.measure),
    "images": Part("Growth with the number of images", growth.images, growth.FIGURE),
}
