"""Where the time of one of our steps goes, against a floor from operation counts and this machine's rates."""

from dataclasses import replace
from statistics import median
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import floor
from benchmarks.options import Options, Row
from benchmarks.ours import PRECISION, Epoch, RandomRows, TimedModel, encoding, published_arguments, timed_model
from benchmarks.settings import Setting, coco, nuswide, random_labels, random_pixels, random_towers, shrunk, voc
from benchmarks.timing import Candidate, Stages, Stopwatch, sample
from dualcoop import TrainingArguments
from dualcoop.prompts import PromptLearner
from dualcoop.training.steps import run_loss

FIGURE = "measured s"
RATE = "G operations/s"
EPOCHS = 50
ENCODED_AT_ONCE = 8
HALF = 2


def measure(options: Options) -> list[Row]:
    """Rates of the machine, then for each setting the parts of a step."""
    rates = floor.measure_rates(options.device)
    rows: list[Row] = [
        _rate("large matrix product, float32", rates.float32),
        _rate("large matrix product, bfloat16", rates.bfloat16),
        _rate("copy (G bytes/s, read and written)", rates.copy),
    ]
    for setting in (voc(), coco(), nuswide()):
        setting = shrunk(setting) if options.quick else setting
        rows += _setting(replace(setting, class_sample=None), rates, options)
    return rows


def _setting(setting: Setting, rates: floor.Rates, options: Options) -> list[Row]:
    model = timed_model(setting, random_towers(setting.backbone, options).backbone)
    arguments = published_arguments(setting, precision=PRECISION)
    rounds = 1 if options.quick else 5
    part = Parts(model, arguments, setting.batch_size)
    seconds = {name: _median(getattr(part, name), rounds) for name in ("reading", "text", "head")}
    step = Epoch(model, arguments, setting.batch_size)
    step()
    whole = median(sample(step).total for _ in range(rounds))
    encoding_seconds, encoding_operations = _encoding(model, rounds)

    operations = part.operations()
    floors = {
        "reading": setting.batch_size * setting.regions * model.backbone.embed_dim * HALF / rates.copy,
        "text": operations["text"] / rates.bfloat16,
        "head": operations["head"] / rates.float32,
    }
    titles = {
        "reading": "reading features",
        "text": "text, forward and backward",
        "head": "head and loss, forward and backward",
    }
    rows: list[Row] = []
    for name, title in titles.items():
        done = part.counted(name) if name != "reading" else None
        rows.append(_share(setting, title, seconds[name], whole, floors[name], operations.get(name), done))
    rows.append(_share(setting, "whole step", whole, whole, sum(floors.values()), sum(operations.values()), None))
    per_step = encoding_seconds * setting.batch_size / EPOCHS
    needed = encoding_operations * setting.batch_size // EPOCHS
    title = f"encoding the batch once, spread over {EPOCHS} epochs"
    rows.append(_share(setting, title, per_step, whole, needed / rates.bfloat16, needed, None))
    return rows


class Parts:
    """The parts of a step, each by itself, forward and backward.

    Args:
        model: with prompts.
        arguments: loss and precision.
        batch_size: B.
    """

    def __init__(self, model: TimedModel, arguments: TrainingArguments, batch_size: int) -> None:
        self._model = model
        self._loss = run_loss(arguments)
        self._low = arguments.precision == "bfloat16"
        self._source = RandomRows(model, batch_size)
        self._source.start_epoch(0)
        self._labels = torch.from_numpy(random_labels(batch_size, len(model.classes))).to(model.device)
        model.watch = Stopwatch(model.device)
        self._rows = torch.arange(batch_size).numpy()
        self._regions = self._source.regions(self._rows).to(model.device)
        with torch.no_grad():
            features = model.text_features()
        self._features = features.mapped(lambda each: each.clone().requires_grad_())
        self._gradients = [torch.randn_like(each) for each in features.values()]

    def reading(self) -> Stages:
        """Features of a batch, in float32 on the device."""
        watch = Stopwatch(self._model.device)
        with watch("reading"):
            self._source.regions(self._rows).to(self._model.device)
        return watch.seconds

    def text(self) -> Stages:
        """Text features and the gradients of the contexts from given gradients of the features."""
        watch = Stopwatch(self._model.device)
        with watch("text"):
            with torch.autocast(self._model.device.type, torch.bfloat16, enabled=self._low):
                features = self._model.text_features()
            torch.autograd.backward([each.float() for each in features.values()], self._gradients)
        self._model.prompts.zero_grad(set_to_none=True)
        return watch.seconds

    def head(self) -> Stages:
        """Logits, loss and the gradients of given text features."""
        watch = Stopwatch(self._model.device)
        with watch("head"):
            logits = self._model.logits_from_regions(self._regions, text=self._features)
            self._loss(logits, self._labels).mean().backward()
        for each in self._features.values():
            each.grad = None
        return watch.seconds

    def counted(self, part: str) -> int:
        """Operations of the matrix products that a part really runs."""
        with FlopCounterMode(display=False) as counter:
            getattr(self, part)()
        return counter.get_total_flops()

    def operations(self) -> dict[str, int]:
        """Operations of text and head that nothing can save."""
        backbone: Any = self._model.backbone
        layers = len(backbone.text.transformer.resblocks)
        prompts = self._model.prompts
        assert isinstance(prompts, PromptLearner)
        text = sum(
            floor.text_operations(backbone.text_width, layers, backbone.embed_dim, prefix, lengths)
            for prefix, lengths in floor.prompt_lengths(prompts)
        )
        images, regions, dimensions = self._regions.shape
        head = floor.head_operations(images, regions, len(self._model.classes), dimensions)
        return {"text": text, "head": head}


def _encoding(model: TimedModel, rounds: int) -> tuple[float, int]:
    """Seconds and operations of encoding one image."""
    run = encoding(model, ENCODED_AT_ONCE)
    backbone: Any = model.backbone
    pixels = random_pixels(ENCODED_AT_ONCE, model.image_size, model.device)
    # Torch cannot count the operations of merged layers; the tower as it comes has as many.
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        backbone.image.regions(pixels, global_region=True)
    return _median(run, rounds) / ENCODED_AT_ONCE, counter.get_total_flops() // ENCODED_AT_ONCE


def _median(run: Candidate, rounds: int) -> float:
    """Median seconds of the only stage, after a call that does not count."""
    run()
    return median(sum(sample(run).stages.values()) for _ in range(rounds))


def _rate(name: str, rate: float) -> Row:
    return {"setting": "this machine", "part": name, FIGURE: None, RATE: rate / 1e9}


def _share(
    setting: Setting, part: str, seconds: float, whole: float, least: float, needed: int | None, done: int | None
) -> Row:
    return {
        "setting": f"{setting.name}, {len(setting.classes)} classes, batch {setting.batch_size}",
        "part": part,
        FIGURE: seconds,
        "share of the step": f"{seconds / whole:.0%}",
        "floor s": least,
        "times the floor": seconds / least,
        "G operations needed": None if needed is None else needed / 1e9,
        "G operations run": None if done is None else done / 1e9,
        RATE: None if done is None else done / seconds / 1e9,
    }
