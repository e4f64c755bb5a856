"""`dualcoop tag`: labels for any number of images, with a trained model or with nothing but words."""

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from dualcoop.cli.compute import autocast
from dualcoop.cli.front_end import in_words
from dualcoop.cli.labels import read_labels
from dualcoop.cli.messages import duration, say, stderr_console, warn
from dualcoop.cli.models import is_exported, open_exported, open_model, refuse_backbone
from dualcoop.cli.option_groups import grouped
from dualcoop.cli.options import THRESHOLD, LabelOptions, ModelOptions, Share, TaggingOptions
from dualcoop.cli.output import Format, Writer, check_output, chosen_format, finished_paths, open_writer
from dualcoop.cli.progress import progress_bar
from dualcoop.counting import counted
from dualcoop.errors import ConfigError, DataError, Option
from dualcoop.options import Counted, option

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dualcoop.export.tagger import OnnxTagger
    from dualcoop.inference.prediction import Prediction
    from dualcoop.methods.base import Method

OUTPUT = "Output"


@dataclass
class Tally:
    """What became of the images.

    Attributes:
        tagged: predictions written.
        skipped: images that could not be read.
        before: images that an earlier run had tagged.
    """

    tagged: int = 0
    skipped: int = 0
    before: int = 0


@dataclass(frozen=True)
class OutputOptions:
    """Where predictions go, and how much of them."""

    format: Format | None = option(
        None, "By default a table, or what the output file's name says.", panel=OUTPUT, flags=("--format", "-f")
    )
    output: Path | None = option(
        None, "Write to a file, row by row.", panel=OUTPUT, flags=("--output", "-o"), metavar="FILE"
    )
    resume: bool = option(False, "Go on with the output file: skip what it holds.", panel=OUTPUT)
    overwrite: bool = option(False, "Start the output file anew.", panel=OUTPUT)
    top: Counted = option(5, "Scores to show for each image.", panel=OUTPUT, flags=("--top", "-k"))
    all_scores: bool = option(False, "Show the scores of all labels.", panel=OUTPUT)
    threshold: Share | None = option(None, THRESHOLD, panel=OUTPUT)


@grouped
def tag(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATHS...", help="Images, folders (with all below them) and globs.", show_default=False),
    ],
    label: LabelOptions,
    source: ModelOptions,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first image that cannot be read.")] = False,
    *,
    out: OutputOptions,
    compute: TaggingOptions,
) -> None:
    """Name what is in images.

    With `--labels` nothing is trained: any words will do. With `--model` a trained model, or a file that `export`
    wrote, gives its labels; `--labels` beside a trained model carry shared prompts over to other words.
    """
    kind = chosen_format(out.format, out.output)
    check_output(out.output, kind, resume=out.resume, overwrite=out.overwrite)
    names = read_labels(label.labels, label.labels_file)
    images = _find(paths, strict)
    network, computing = _open(source, names, compute)
    top = None if out.all_scores else out.top
    remaining = images
    if out.resume and out.output is not None:
        finished = finished_paths(out.output, kind, top, network.classes)
        remaining = [path for path in images if str(path) not in finished]
    tally = Tally(before=len(images) - len(remaining))
    stdout = Console()
    # Rows and bar on one terminal have to go through one console, or they overwrite each other.
    display = stdout if out.output is None and stdout.is_terminal else stderr_console()
    start = time.perf_counter()
    try:
        with (
            computing,
            progress_bar("tagging", len(remaining), console=display) as update,
            open_writer(
                out.output,
                kind,
                console=stdout,
                paths=images,
                classes=network.classes,
                top=top,
                resume=out.resume,
            ) as writer,
        ):
            predictions = network.iter_predictions(
                remaining,
                compute.batch_size,
                thresholds=out.threshold,
                on_error="raise" if strict else "skip",
                progress=update,
                workers=compute.workers,
            )
            _write(predictions, writer, tally)
    except KeyboardInterrupt:
        _say_stopped(tally, len(remaining), out.output, kind)
        raise
    _say_done(tally, time.perf_counter() - start, out.output)
    if tally.skipped and not tally.tagged and not tally.before:
        raise DataError("no image could be read.")


def _open(
    source: ModelOptions, labels: list[str] | None, compute: TaggingOptions
) -> tuple["Method | OnnxTagger", AbstractContextManager[object]]:
    """The model, and the context to compute in; an exported file brings its own."""
    if source.model is not None and is_exported(source.model):
        refuse_backbone(source.model, source.backbone)
        return open_exported(source.model, labels, compute), nullcontext()
    network = open_model(source.model, labels, compute, backbone=source.backbone)
    return network, autocast(network.device, compute.precision)


def _find(paths: list[str], strict: bool) -> list[Path]:
    from dualcoop.data.discovery import find_images

    found = find_images(paths)
    if found.problems and (strict or not found.paths):
        raise DataError(" ".join(in_words(problem) for problem in found.problems))
    for problem in found.problems:
        warn(problem)
    if not found.paths:
        raise ConfigError("name at least one image, folder or pattern.")
    return found.paths


def _write(predictions: "Iterator[Prediction]", writer: Writer, tally: Tally) -> None:
    for prediction in predictions:
        if prediction.error is None:
            writer(prediction)
            tally.tagged += 1
        else:
            warn(f"skipped {in_words(prediction)}")
            tally.skipped += 1


def _say_stopped(tally: Tally, total: int, output: Path | None, kind: Format) -> None:
    kept = "" if output is None else f"; they are in {output}"
    further = (
        () if output is None or kind == "table" else (" (the same command with ", Option("resume"), " does the rest)")
    )
    say((f"{tally.tagged:,} of {counted(total, 'image')} tagged{kept}", *further))


def _say_done(tally: Tally, seconds: float, output: Path | None) -> None:
    if not (tally.skipped or tally.before or output is not None or stderr_console().is_terminal):
        return
    total = tally.tagged + tally.skipped
    rate = f" ({total / seconds:.1f} images/s)" if total and seconds > 0 else ""
    parts = [f"{counted(tally.tagged, 'image')} tagged in {duration(seconds)}{rate}"]
    if tally.before:
        parts.append(f"{tally.before:,} were there before")
    if tally.skipped:
        parts.append(f"{tally.skipped:,} skipped because they could not be read")
    if output is not None:
        parts.append(f"written to {output}")
    say("; ".join(parts))
