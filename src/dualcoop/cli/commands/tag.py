"""`dualcoop tag`: labels for any number of images, with a trained model or with nothing but words."""

import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer
from rich.console import Console

from dualcoop.cli.compute import autocast
from dualcoop.cli.data import images_at
from dualcoop.cli.front_end import in_words
from dualcoop.cli.labels import read_labels
from dualcoop.cli.messages import duration, say, stderr_console, warn
from dualcoop.cli.models import open_exported, open_model, refuse_backbone
from dualcoop.cli.option_groups import grouped
from dualcoop.cli.options import THRESHOLD, LabelOptions, ModelOptions, Share, TaggingOptions
from dualcoop.cli.output import Format, check_output, chosen_format, finished_paths, open_writer
from dualcoop.cli.progress import progress_bar
from dualcoop.counting import counted
from dualcoop.errors import DataError, Option, Text
from dualcoop.options import Counted, option

if TYPE_CHECKING:
    from dualcoop.export.tagger import OnnxTagger
    from dualcoop.methods.base import Method


@dataclass
class Tally:
    """What became of the images: predictions written, images not read, and those that an earlier run had tagged."""

    tagged: int = 0
    skipped: int = 0
    before: int = 0


@dataclass(frozen=True)
class OutputOptions:
    """Where predictions go, and how much of them."""

    PANEL: ClassVar = "Output"

    format: Format | None = option(
        None, "By default a table, or what the output file's name says.", flags=("--format", "-f")
    )
    output: Path | None = option(None, "Write to a file, row by row.", flags=("--output", "-o"), metavar="FILE")
    resume: bool = option(False, "Go on with the output file: skip what it holds.")
    overwrite: bool = option(False, "Start the output file anew.")
    top: Counted = option(5, "Scores to show for each image.", flags=("--top", "-k"))
    all_scores: bool = option(False, "Show the scores of all labels.")
    threshold: Share | None = option(None, THRESHOLD)


@grouped
def tag(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATHS...", help="Images, folders (with all below them) and globs.")
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
    images = images_at(paths, strict=strict)
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
                out.output, kind, console=stdout, paths=images, classes=network.classes, top=top, resume=out.resume
            ) as write,
        ):
            predictions = network.iter_predictions(
                remaining,
                compute.batch_size,
                thresholds=out.threshold,
                on_error="raise" if strict else "skip",
                progress=update,
                workers=compute.workers,
            )
            for prediction in predictions:
                if prediction.error is None:
                    write(prediction)
                    tally.tagged += 1
                else:
                    warn(f"skipped {in_words(prediction)}")
                    tally.skipped += 1
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
    from dualcoop.export.tagger import is_exported

    if source.model is not None and is_exported(source.model):
        refuse_backbone(source.model, source.backbone)
        return open_exported(source.model, labels, compute), nullcontext()
    network = open_model(source.model, labels, compute, backbone=source.backbone)
    return network, autocast(network.device, compute.precision)


def _say_stopped(tally: Tally, total: int, output: Path | None, kind: Format) -> None:
    said: list[Text] = [f"{tally.tagged:,} of {counted(total, 'image')} tagged"]
    if output is not None:
        said.append(f"; they are in {output}")
        if kind != "table":
            said += [" (the same command with ", Option("resume"), " does the rest)"]
    say(tuple(said))


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
