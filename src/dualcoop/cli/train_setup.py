"""From the options of `dualcoop train` to arguments, prompts, and data with parts held out and labels hidden."""

from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from dualcoop.cli.compute import open_cache, resolved
from dualcoop.cli.options import CacheOptions, ComputeOptions
from dualcoop.cli.train_options import HoldOutOptions, OutputOptions, Recipe
from dualcoop.counting import counted
from dualcoop.errors import ConfigError, Option, Text
from dualcoop.prompts.config import PromptConfig
from dualcoop.training.arguments import TrainingArguments

if TYPE_CHECKING:
    from dualcoop.data.labels import DatasetSplits
    from dualcoop.data.masks import LabelMask

DEFAULT_VALID_FRACTION = 0.2
RECIPES: dict[Recipe, tuple[Callable[[], TrainingArguments], Callable[[], PromptConfig]]] = {
    "default": (TrainingArguments, PromptConfig),
    "published": (TrainingArguments.published, PromptConfig.paper_partial_labels),
    "published-voc": (partial(TrainingArguments.published, voc=True), PromptConfig.paper_partial_labels),
    "published-zero-shot": (partial(TrainingArguments.published, zero_shot=True), PromptConfig.paper_zero_shot),
}
WORDS_FOR_NONE = {each.name: each.metadata.get("word_for_none") for each in fields(PromptConfig)}


def check_output_folder(out: OutputOptions) -> None:
    """Refuse to write over a model, or over what an interrupted run has done.

    Raises:
        ConfigError: saying which option to add.
    """
    from dualcoop.saving.config import is_saved_model
    from dualcoop.training.checkpoints import CHECKPOINT_FILE

    folder = out.output_dir
    assert folder is not None
    if out.resume and out.overwrite:
        what = ("keeps what is in the output folder and ", Option("overwrite"), " replaces it")
        raise ConfigError(what, option="resume", remedy="choose one")
    if folder.exists() and not folder.is_dir():
        raise ConfigError("this is a file", where=str(folder), remedy="name a folder")
    if out.resume or out.overwrite:
        return
    if is_saved_model(folder):
        remedy: Text = ("name another one, or replace it with ", Option("overwrite"))
        raise ConfigError("there is a model in this folder", where=str(folder), remedy=remedy)
    # A finished run leaves its checkpoint beside its model, so this one is all that there is of a run.
    if (folder / CHECKPOINT_FILE).is_file():
        remedy = ("go on with ", Option("resume"), ", or drop it with ", Option("overwrite"))
        raise ConfigError("an interrupted run is in this folder", where=str(folder), remedy=remedy)


def with_valid_part(splits: "DatasetSplits", hold_out: HoldOutOptions) -> "DatasetSplits":
    """Hold out validation images where the data name none, or where a share is asked for."""
    from dualcoop.data.splits import hold_out_images

    assert splits.train is not None
    fraction = hold_out.valid_fraction
    if splits.valid is not None:
        if fraction:
            what = f"the data have a valid part of their own ({counted(len(splits.valid), 'image')})"
            raise ConfigError(what, remedy=("leave out ", Option("valid_fraction")))
        return splits
    held = round((DEFAULT_VALID_FRACTION if fraction is None else fraction) * len(splits.train))
    if not held:
        return splits
    train, valid = hold_out_images(splits.train, held, hold_out.split_seed)
    were = "was" if held == 1 else "were"
    note = f"{held} of the training images {were} held out for validation (seed {hold_out.split_seed})"
    return replace(splits, train=train, valid=valid, notes=(*splits.notes, note))


def with_hidden_labels(splits: "DatasetSplits", hold_out: HoldOutOptions) -> tuple["DatasetSplits", "LabelMask | None"]:
    """The data with labels hidden in the train and valid parts, and the train part's mask."""
    from dualcoop.data.masks import partial_label_mask

    share, seed = hold_out.known_fraction, hold_out.mask_seed
    if share is None:
        return splits, None
    assert splits.train is not None
    mask = partial_label_mask(splits.train, share, seed)
    valid = None if splits.valid is None else partial_label_mask(splits.valid, share, seed).apply(splits.valid)
    note = f"labels of train and valid were hidden, each kept with probability {share:g} (seed {seed})"
    return replace(splits, train=mask.apply(splits.train), valid=valid, notes=(*splits.notes, note)), mask


def training_arguments(
    changes: dict[str, Any],
    compute: ComputeOptions,
    caching: CacheOptions,
    recipe: Recipe,
    out: OutputOptions,
    *,
    strict: bool,
) -> TrainingArguments:
    """The recipe's arguments with what was given in their place."""
    from dualcoop.devices import resolve_device

    cache = open_cache(caching)
    return replace(
        RECIPES[recipe][0](),
        **changes,
        precision=resolved(resolve_device(compute.device), compute.precision),
        feature_precision=caching.feature_precision,
        cache_dir=None if cache is None else cache.folder,
        cache_size=caching.cache_size,
        output_dir=out.output_dir,
        resume=out.resume,
        strict=strict,
    )


def prompt_config(changes: dict[str, Any], recipe: Recipe, seed: int) -> PromptConfig:
    """The recipe's prompts with what was given in their place."""
    settled: dict[str, Any] = {
        name: None if value == WORDS_FOR_NONE.get(name) else value for name, value in changes.items()
    }
    return replace(RECIPES[recipe][1](), **settled, seed=seed)


def prompt_options(config: PromptConfig, names: Iterable[str]) -> dict[str, Any]:
    """The reverse of `prompt_config`: options that give this configuration whatever the recipe."""
    values = {name: getattr(config, name) for name in names}
    return {name: WORDS_FOR_NONE.get(name) if value is None else value for name, value in values.items()}
