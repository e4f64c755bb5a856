"""From the options of `dualcoop train` to arguments, prompts, and data with parts held out and labels hidden."""

from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from dualcoop.cli.caching import open_cache
from dualcoop.cli.compute import resolved
from dualcoop.cli.options import CacheOptions, ComputeOptions
from dualcoop.cli.train_options import HoldOutOptions, OutputOptions, Recipe
from dualcoop.counting import counted
from dualcoop.errors import ConfigError, Option
from dualcoop.prompts.config import PromptConfig
from dualcoop.training.arguments import TrainingArguments

if TYPE_CHECKING:
    from dualcoop.data.labels import DatasetSplits, LabelledImages
    from dualcoop.data.masks import LabelMask

DEFAULT_VALID_FRACTION = 0.2
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
        raise ConfigError(
            "there is a model in this folder",
            where=str(folder),
            remedy=("name another one, or replace it with ", Option("overwrite")),
        )
    # A finished run leaves its checkpoint beside its model, so this one is all that there is of a run.
    if (folder / CHECKPOINT_FILE).is_file():
        raise ConfigError(
            "an interrupted run is in this folder",
            where=str(folder),
            remedy=("go on with ", Option("resume"), ", or drop it with ", Option("overwrite")),
        )


def with_valid_part(splits: "DatasetSplits", hold_out: HoldOutOptions) -> "DatasetSplits":
    """Hold out validation images where the data name none, or where a share is asked for."""
    from dualcoop.data.splits import hold_out_images

    assert splits.train is not None
    fraction = hold_out.valid_fraction
    if splits.valid is not None:
        if fraction:
            raise ConfigError(
                f"the data have a valid part of their own ({counted(len(splits.valid), 'image')})",
                remedy=("leave out ", Option("valid_fraction")),
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

    recipes: dict[Recipe, Callable[[], TrainingArguments]] = {
        "default": TrainingArguments,
        "published": TrainingArguments.published,
        "published-voc": lambda: TrainingArguments.published(voc=True),
        "published-zero-shot": lambda: TrainingArguments.published(zero_shot=True),
    }
    cache = open_cache(caching)
    return replace(
        recipes[recipe](),
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
    recipes: dict[Recipe, Callable[[], PromptConfig]] = {
        "default": PromptConfig,
        "published": PromptConfig.paper_partial_labels,
        "published-voc": PromptConfig.paper_partial_labels,
        "published-zero-shot": PromptConfig.paper_zero_shot,
    }
    settled: dict[str, Any] = {
        name: None if value == WORDS_FOR_NONE.get(name) else value for name, value in changes.items()
    }
    return replace(recipes[recipe](), **settled, seed=seed)


def prompt_options(config: PromptConfig, names: Iterable[str]) -> dict[str, Any]:
    """The reverse of `prompt_config`: options that give this configuration whatever the recipe."""
    values = {name: getattr(config, name) for name in names}
    return {name: WORDS_FOR_NONE.get(name) if value is None else value for name, value in values.items()}
