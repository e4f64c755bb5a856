"""`dualcoop train`: a tagger from labelled images, with everything needed to judge and repeat the run."""

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from dualcoop.cli.data import load_data, show_summary
from dualcoop.cli.messages import count, duration, say
from dualcoop.cli.metrics import print_metrics
from dualcoop.cli.models import DEFAULT_BACKBONE
from dualcoop.cli.option_groups import given, grouped, plain, plain_value
from dualcoop.cli.options import Backbone, CacheOptions, ComputeOptions, DataOptions
from dualcoop.cli.progress import waiting
from dualcoop.cli.repeat import OPTIONS, past_run, use_run
from dualcoop.cli.train_options import HoldOutOptions, OutputOptions, PromptOptions, Recipe, TrainingOptions
from dualcoop.cli.train_setup import (
    check_output_folder,
    prompt_config,
    prompt_options,
    training_arguments,
    with_hidden_labels,
    with_valid_part,
)
from dualcoop.cli.training_display import TrainingDisplay
from dualcoop.cli.wording import reworded
from dualcoop.errors import ConfigError, DataError


@grouped
def train(
    context: typer.Context,
    table: Annotated[
        Path | None,
        typer.Argument(
            help="Label table (.csv, .tsv, .jsonl, .parquet), COCO .json, or a COCO, VOC or NUS-WIDE folder.",
            show_default=False,
        ),
    ] = None,
    *,
    out: OutputOptions,
    backbone: Backbone = DEFAULT_BACKBONE,
    recipe: Annotated[
        Recipe,
        typer.Option(help="Defaults to start from; the published ones are the paper's. Options given change them."),
    ] = Recipe.default,
    from_run: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Repeat the run of this run.json; options given change it.",
            is_eager=True,
            callback=use_run,
            show_default=False,
        ),
    ] = None,
    data: DataOptions,
    hold_out: HoldOutOptions,
    prompts: PromptOptions,
    training: TrainingOptions,
    compute: ComputeOptions,
    caching: CacheOptions,
) -> None:
    """Train a tagger on labelled images; a few labels for each are enough.

    The output folder gets the model, run.json (all options, data fingerprints, versions), history.csv, curves.png,
    the mask of hidden labels, and checkpoints. The test part of the data is not looked at: measure it afterwards
    with `dualcoop evaluate`.
    """
    if table is None or out.output is None:
        what = "a label table (dualcoop train labels.csv ...)" if table is None else "--output DIR"
        raise ConfigError(f"train needs {what}.")
    check_output_folder(out)
    console = Console()
    splits = load_data(table, data)
    if splits.train is None:
        there = ", ".join(name for name, _ in splits.parts())
        raise DataError(f"{table}: there is no train part, only {there}. Give images to train on.")
    splits = with_valid_part(splits, hold_out)
    shown, mask = with_hidden_labels(splits, hold_out)
    show_summary(shown, console)
    arguments = training_arguments(context, training, compute, caching, recipe, out, strict=data.strict)
    config = prompt_config(context, prompts, recipe, arguments.seed)
    options = {
        "table": plain_value(table),
        "backbone": backbone,
        **plain(data),
        **plain(hold_out),
        **plain(prompts),
        **plain(training),
        **plain(compute),
        **plain(caching),
    }
    # What the recipe decided, not what was typed, so that a repetition needs no recipe.
    options |= {name: value for name, value in arguments.to_dict().items() if name in options}
    options |= prompt_options(config)
    with waiting(f"loading {backbone}"):
        from dualcoop.methods.dualcoop import DualCoOp
        from dualcoop.training import Trainer

        model = DualCoOp.from_pretrained(
            backbone,
            shown.classes,
            prompts=config,
            aggregation=prompts.aggregation.value,
            image_size=compute.image_size,
            device=compute.device,
        )
    assert shown.train is not None
    past = past_run(context)
    if past is not None:
        past.compare(model, {"train": shown.train, "valid": shown.valid})
    console.print(
        f"training {model.num_learnable_parameters:,} numbers ({'shared' if prompts.shared else 'class-specific'} "
        f"prompts) over {backbone} at {model.image_size} pixels on {model.device}",
        highlight=False,
    )
    with TrainingDisplay(arguments.epochs) as display:
        try:
            result = Trainer(
                model,
                arguments,
                train=shown.train,
                valid=shown.valid,
                callbacks=[display],
                mask=mask,
                source={OPTIONS: options},
            ).train()
        except KeyboardInterrupt:
            say(f"what is done is in {out.output}; the same command with --resume goes on from the last checkpoint")
            raise
    for problem in result.problems:
        say(f"left out: {reworded(problem)}", style="bold yellow", mark="warning")
    _show_result(model.training_record, result.epoch, result.seconds, out.output, console)
    if splits.test is not None:
        say(f"the test part is still unseen: {_evaluation(context, out.output, table, data)}")


def _show_result(record: dict[str, Any], epoch: int, seconds: float, output: Path, console: Console) -> None:
    for name, report in record.get("metrics", {}).items():
        print_metrics(report, title=name, console=console)
    if not record.get("metrics"):
        console.print("no validation images, so nothing was measured", highlight=False)
    console.print(
        f"trained in {duration(seconds)} ({count(epoch, 'epoch')}); model and records are in {output}",
        highlight=False,
        markup=False,
    )


def _evaluation(context: typer.Context, output: Path, table: Path, data: DataOptions) -> str:
    """The command that measures the trained model, with the options that the data were read with."""
    words = ["dualcoop", "evaluate", str(output), str(table)]
    for name, value in given(context, data).items():
        if name != "check_images" and value not in (None, False):
            words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(plain_value(value))])]
    return shlex.join(words)
