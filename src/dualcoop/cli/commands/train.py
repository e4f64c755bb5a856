"""`dualcoop train`: a tagger from labelled images, with everything needed to judge and repeat the run."""

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from dualcoop.cli.data import load_data, show_summary
from dualcoop.cli.front_end import SHELL, in_words
from dualcoop.cli.messages import duration, say, warn
from dualcoop.cli.metrics import print_metrics
from dualcoop.cli.models import DEFAULT_BACKBONE
from dualcoop.cli.option_groups import FieldsOf, given, grouped, plain
from dualcoop.cli.options import TABLE, Backbone, CacheOptions, ComputeOptions, DataOptions, ReadingOptions
from dualcoop.cli.progress import waiting
from dualcoop.cli.repeat import OPTIONS, past_run, use_run
from dualcoop.cli.train_options import HeadOptions, HoldOutOptions, OutputOptions, Recipe
from dualcoop.cli.train_setup import (
    check_output_folder,
    prompt_config,
    prompt_options,
    training_arguments,
    with_hidden_labels,
    with_valid_part,
)
from dualcoop.cli.training_display import TrainingDisplay
from dualcoop.counting import counted
from dualcoop.errors import ConfigError, DataError, Option
from dualcoop.prompts.config import PromptConfig
from dualcoop.training.arguments import TrainingArguments


@grouped
def train(
    context: typer.Context,
    table: Annotated[Path | None, typer.Argument(help=TABLE)] = None,
    *,
    out: OutputOptions,
    backbone: Backbone = DEFAULT_BACKBONE,
    recipe: Annotated[
        Recipe,
        typer.Option(help="Defaults to start from; the published ones are the paper's. Options given change them."),
    ] = "default",
    from_run: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Repeat the run of this run.json; options given change it.",
            is_eager=True,
            callback=use_run,
        ),
    ] = None,
    data: DataOptions,
    reading: ReadingOptions,
    hold_out: HoldOutOptions,
    prompts: Annotated[dict[str, Any], FieldsOf(PromptConfig)],
    head: HeadOptions,
    training: Annotated[dict[str, Any], FieldsOf(TrainingArguments)],
    compute: ComputeOptions,
    caching: CacheOptions,
) -> None:
    """Train a tagger on labelled images; a few labels for each are enough.

    The output folder gets the model, run.json (all options, data fingerprints, versions), history.csv, curves.png,
    the mask of hidden labels, and checkpoints. The test part of the data is not looked at: measure it afterwards
    with `dualcoop evaluate`.
    """
    if table is None or out.output_dir is None:
        missing = "a label table (dualcoop train labels.csv ...)" if table is None else (Option("output_dir"), " DIR")
        raise ConfigError(("train needs ", missing))
    check_output_folder(out)
    console = Console()
    splits = load_data(table, data, reading)
    if splits.train is None:
        what = f"there is no train part, only {', '.join(name for name, _ in splits.parts())}"
        raise DataError(what, where=str(table), remedy="give images to train on")
    splits = with_valid_part(splits, hold_out)
    shown, mask = with_hidden_labels(splits, hold_out)
    show_summary(shown, console)
    changes = {name: training[name] for name in given(context, training)}
    arguments = training_arguments(changes, compute, caching, recipe, out, strict=data.strict)
    changes = {name: prompts[name] for name in given(context, prompts)}
    config = prompt_config(changes, recipe, arguments.seed)
    # What the recipe decided, not what was typed, so that a repetition needs no recipe.
    decided = arguments.to_dict()
    options = {
        "table": str(table),
        "backbone": backbone,
        **plain(data),
        **reading,
        **plain(hold_out),
        **prompt_options(config, prompts),
        **plain(head),
        **{name: decided[name] for name in training},
        **plain(compute),
        "precision": decided["precision"],
        **plain(caching),
    }
    with waiting(f"loading {backbone}"):
        from dualcoop.methods.dualcoop import DualCoOp
        from dualcoop.training import Trainer

        place: dict[str, Any] = {"image_size": compute.image_size, "device": compute.device}
        model = DualCoOp.from_pretrained(backbone, shown.classes, prompts=config, aggregation=head.aggregation, **place)
    assert shown.train is not None
    if (past := past_run(context)) is not None:
        past.compare(model, {"train": shown.train, "valid": shown.valid})
    sharing = "class-specific" if config.class_specific else "shared"
    size = f"training {model.num_learnable_parameters:,} numbers ({sharing} prompts)"
    where = f"{backbone} at {model.image_size} pixels on {model.device}"
    console.print(f"{size} over {where}", highlight=False)
    with TrainingDisplay(arguments.epochs) as display:
        source = {OPTIONS: options}
        trainer = Trainer(
            model, arguments, train=shown.train, valid=shown.valid, callbacks=[display], mask=mask, source=source
        )
        try:
            result = trainer.train()
        except KeyboardInterrupt:
            further = ("the same command with ", Option("resume"), " goes on from the last checkpoint")
            say((f"what is done is in {out.output_dir}; ", *further))
            raise
    for problem in result.problems:
        warn(f"left out: {in_words(problem)}")
    _show_result(model.training_record, result.epoch, result.seconds, out.output_dir, console)
    if splits.test is not None:
        say(f"the test part is still unseen: {_evaluation(context, out.output_dir, table, plain(data) | reading)}")


def _show_result(record: dict[str, Any], epoch: int, seconds: float, output: Path, console: Console) -> None:
    for name, report in record.get("metrics", {}).items():
        print_metrics(report, title=name, console=console)
    if not record.get("metrics"):
        console.print("no validation images, so nothing was measured", highlight=False)
    done = f"trained in {duration(seconds)} ({counted(epoch, 'epoch')}); model and records are in {output}"
    console.print(done, highlight=False, markup=False)


def _evaluation(context: typer.Context, output: Path, table: Path, values: dict[str, Any]) -> str:
    """The command that measures the trained model, with the options that the data were read with."""
    words = ["dualcoop", "evaluate", str(output), str(table)]
    options = [Option(name, values[name]) for name in values if name in given(context, values) - {"check_images"}]
    return " ".join([shlex.join(words), *filter(None, map(SHELL.spelled, options))])
