"""From the options of `dualcoop train` to arguments, prompts, and data with parts held out and labels hidden."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer

from dualcoop.cli.caching import open_cache
from dualcoop.cli.compute import resolved
from dualcoop.cli.messages import count
from dualcoop.cli.option_groups import given, plain_value
from dualcoop.cli.options import CacheOptions, ComputeOptions
from dualcoop.cli.train_options import HoldOutOptions, OutputOptions, PromptOptions, Recipe, TrainingOptions
from dualcoop.errors import ConfigError

if TYPE_CHECKING:
    from dualcoop.data.labels import DatasetSplits, LabelledImages
    from dualcoop.data.masks import LabelMask
    from dualcoop.prompts import PromptConfig
    from dualcoop.training import TrainingArguments

DEFAULT_VALID_FRACTION = 0.2
RANDOM = "random"


def check_output_folder(out: OutputOptions) -> None:
    """Refuse to write over a model, or over what an interrupted run has done.

    Raises:
        ConfigError: saying which option to add.
    """
    from dualcoop.saving.config import is_saved_model
    from dualcoop.training.checkpoints import CHECKPOINT_FILE

    assert out.output is not None
    if out.resume and out.overwrite:
        raise ConfigError("--resume keeps what is in the output folder and --overwrite replaces it: choose one.")
    if out.output.exists() and not out.output.is_dir():
        raise ConfigError(f"{out.output}: this is a file. Name a folder.")
    if out.resume or out.overwrite:
        return
    if is_saved_model(out.output):
        raise ConfigError(
            f"{out.output}: there is a model in this folder. Name another one, or replace it with --overwrite."
        )
    # A finished run leaves its checkpoint beside its model, so this one is all that there is of a run.
    if (out.output / CHECKPOINT_FILE).is_file():
        raise ConfigError(
            f"{out.output}: an interrupted run is in this folder. Go on with --resume, or drop it with --overwrite."
        )


def with_valid_part(splits: "DatasetSplits", hold_out: HoldOutOptions) -> "DatasetSplits":
    """Hold out validation images where the data name none, or where a share is asked for."""
    from dualcoop.data.splits import hold_out_images

    assert splits.train is not None
    fraction = hold_out.valid_fraction
    if splits.valid is not None:
        if fraction:
            raise ConfigError(
                f"the data have a valid part of their own ({count(len(splits.valid), 'image')}). Leave out "
                "--valid-fraction."
            )
        return splits
    if fraction is None:
        fraction = DEFAULT_VALID_FRACTION
    held = round(fraction * len(splits.train))
    if not held:
        return splits
    train, valid = hold_out_images(splits.train, held, hold_out.split_seed)
    were = "was" if held == 1 else "were"
    note = f"{held} of the training images {were} held out for validation (seed {hold_out.split_seed})"
    return replace(splits, train=train, valid=valid, notes=(*splits.notes, note))


def with_hidden_labels(splits: "DatasetSplits", hold_out: HoldOutOptions) -> tuple["DatasetSplits", "LabelMask | None"]:
    """The data with labels hidden in the train and valid parts, and the train part's mask."""
    from dualcoop.data.masks import partial_label_mask

    if hold_out.known_fraction is None:
        return splits, None

    def masked(part: "LabelledImages") -> tuple["LabelledImages", "LabelMask"]:
        assert hold_out.known_fraction is not None
        mask = partial_label_mask(part, hold_out.known_fraction, hold_out.mask_seed)
        return mask.apply(part), mask

    assert splits.train is not None
    train, mask = masked(splits.train)
    valid = None if splits.valid is None else masked(splits.valid)[0]
    note = (
        f"labels of train and valid were hidden, each kept with probability {hold_out.known_fraction:g} (seed "
        f"{hold_out.mask_seed})"
    )
    return replace(splits, train=train, valid=valid, notes=(*splits.notes, note)), mask


def training_arguments(
    context: typer.Context,
    training: TrainingOptions,
    compute: ComputeOptions,
    caching: CacheOptions,
    recipe: Recipe,
    out: OutputOptions,
    *,
    strict: bool,
) -> "TrainingArguments":
    """The recipe's arguments with what was given in their place."""
    from dualcoop.devices import resolve_device
    from dualcoop.training import TrainingArguments

    recipes: dict[Recipe, Callable[[], TrainingArguments]] = {
        Recipe.default: TrainingArguments,
        Recipe.published: TrainingArguments.published,
        Recipe.published_voc: lambda: TrainingArguments.published(voc=True),
        Recipe.published_zero_shot: lambda: TrainingArguments.published(zero_shot=True),
    }
    changes = {name: plain_value(value) for name, value in given(context, training).items()}
    cache = open_cache(caching)
    return replace(
        recipes[recipe](),
        **changes,
        precision=resolved(resolve_device(compute.device), compute.precision).value,
        feature_precision=caching.feature_precision.value,
        cache_dir=None if cache is None else cache.folder,
        cache_size=caching.cache_size,
        output_dir=out.output,
        resume=out.resume,
        strict=strict,
    )


def prompt_config(context: typer.Context, prompts: PromptOptions, recipe: Recipe, seed: int) -> "PromptConfig":
    """The recipe's prompts with what was given in their place."""
    from dualcoop.prompts import PromptConfig

    recipes: dict[Recipe, Callable[[], PromptConfig]] = {
        Recipe.default: lambda: PromptConfig(class_specific=not prompts.shared),
        Recipe.published: PromptConfig.paper_partial_labels,
        Recipe.published_voc: PromptConfig.paper_partial_labels,
        Recipe.published_zero_shot: PromptConfig.paper_zero_shot,
    }
    changes: dict[str, Any] = {
        name: plain_value(value) for name, value in given(context, prompts).items() if name != "aggregation"
    }
    if "shared" in changes:
        changes["class_specific"] = not changes.pop("shared")
    for name in ("positive_init", "negative_init"):
        if changes.get(name) == RANDOM:
            changes[name] = None
    return replace(recipes[recipe](), **changes, seed=seed)


def prompt_options(config: "PromptConfig") -> dict[str, Any]:
    """The reverse of `prompt_config`: options that give this configuration whatever the recipe."""
    return {
        "shared": not config.class_specific,
        "mode": config.mode,
        "positive_tokens": config.positive_tokens,
        "negative_tokens": config.negative_tokens,
        "positive_init": config.positive_init or RANDOM,
        "negative_init": config.negative_init or RANDOM,
        "residual": config.residual,
        "absence": config.absence,
    }
