"""One function that loads every supported kind of data set."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast, get_args

from dualcoop.data.assembly import Progress, assemble
from dualcoop.data.formats.coco import is_coco_folder, load_coco
from dualcoop.data.formats.nuswide import Vocabulary, is_nuswide_folder, load_nuswide
from dualcoop.data.formats.table_columns import IMAGE_COLUMNS, Meaning, TableOptions, Unlisted, clean_name
from dualcoop.data.formats.table_files import TABLE_SUFFIXES, read_frame, read_table
from dualcoop.data.formats.tables import load_table
from dualcoop.data.formats.voc import is_voc_folder, load_voc
from dualcoop.data.images import MAX_PIXELS
from dualcoop.data.labels import DatasetSplits
from dualcoop.data.problems import ProblemLog, quoted_list
from dualcoop.errors import ConfigError, DataError

Format = Literal["auto", "table", "coco", "voc", "nuswide"]


def load_dataset(
    path: Any,
    *,
    images: str | os.PathLike[str] | None = None,
    format: Format = "auto",
    classes: Sequence[str] | None = None,
    unlisted: Unlisted = "auto",
    minus_one: Meaning | None = None,
    zero: Meaning = "absent",
    delimiter: str = ";",
    duplicates: Literal["skip", "merge"] = "skip",
    other_labels: Literal["report", "ignore"] = "report",
    image_column: str | None = None,
    labels_column: str | None = None,
    absent_column: str | None = None,
    split_column: str | None = None,
    encoding: str = "utf-8",
    year: int | None = None,
    vocabulary: Vocabulary = "concepts",
    valid_fraction: float | None = None,
    test_fraction: float | None = None,
    seed: int = 0,
    strict: bool = False,
    check_images: bool = False,
    max_pixels: int = MAX_PIXELS,
    workers: int | None = None,
    progress: Progress | None = None,
) -> DatasetSplits:
    """Load images with labels; docs/label-formats.md shows every format.

    Rows and images that cannot be used are skipped, listed in `.problems` and summed up in one DataWarning;
    with `strict=True` the first of them raises. Without any split information every image is for training,
    and none is held out unless `valid_fraction` or `test_fraction` asks for it.

    Args:
        path: a label table (.csv, .tsv, .txt, .jsonl, .ndjson, .parquet), a pandas data frame, COCO's json,
            or a folder with a COCO, VOC or NUS-WIDE data set.
        images: folder that the image names start from; by default the table's own, or the data set's usual
            one.
        format: what `path` is, when it cannot be told from the name and the content.
        classes: the classes to learn, in this order. By default those that the data name, sorted (tables), or
            in the data set's own order.
        unlisted: what a label that is not listed (a `labels` column), not annotated (COCO, VOC), not given
            (tags) or left empty (class columns) means: "absent", "unknown", or "auto": unknown in tables with
            an `absent` column or with class columns; absent, with a warning, in tables with a `labels` column
            alone, except in rows whose labels cell is empty, which are unknown; absent in the published data
            sets.
        minus_one: meaning of -1 in class columns and .npy matrices; without it a -1 is refused.
        zero: meaning of 0 there; "unknown" together with minus_one="absent" reads the paper's matrices.
        delimiter: separates the labels inside a cell.
        duplicates: "skip" keeps the first of equal rows of an image and drops images whose rows differ;
            "merge" puts their labels together (tables with one row for each label) and drops those that
            contradict.
        other_labels: "report" skips rows that list a label outside `classes`; "ignore" drops just that label.
        image_column, labels_column, absent_column, split_column: names of the columns, when they are not
            called image, labels, absent, split.
        encoding: of text tables.
        year: 2007, 2012, 2014 or 2017, for a folder that holds several.
        vocabulary: NUS-WIDE's 81 "concepts", 925 "tags", or "all".
        valid_fraction: share of the training images to hold out for validation, over 0 and under 1.
        test_fraction: the same for testing; both are shares of the images before anything is held out.
        seed: of the held-out images, which do not depend on the order of the rows.
        strict: raise at the first problem.
        check_images: decode every image now rather than find the broken ones during training. By default each
            file must just exist and not be empty.
        max_pixels: largest image that `check_images` accepts, width times height.
        workers: threads of `check_images`, by default one for each core that the process may use, at most 8.
        progress: called by `check_images` with (images done, images of the part).

    Returns:
        DatasetSplits; print it for a summary.

    Raises:
        DataError: when nothing can be used, or at the first problem when strict.
        ConfigError: for options that make no sense, alone or here.
    """
    options = TableOptions(
        classes=None if classes is None else tuple(classes),
        unlisted=unlisted,
        minus_one=minus_one,
        zero=zero,
        delimiter=delimiter,
        duplicates=duplicates,
        other_labels=other_labels,
        image_column=image_column,
        labels_column=labels_column,
        absent_column=absent_column,
        split_column=split_column,
        encoding=encoding,
    )
    log = ProblemLog(strict)
    folder = None if images is None else _existing_folder(images)
    wanted = None
    if hasattr(path, "itertuples"):
        source = Path("the data frame")
        raw = load_table(read_frame(path), folder or Path(), options, log)
    else:
        source = Path(path).expanduser()
        kind = _kind(source, format)
        _refuse_foreign_options(kind, year, vocabulary)
        if kind == "table":
            asked = (image_column or "").strip().casefold()
            keys = (asked,) if asked else IMAGE_COLUMNS
            table = read_table(source, log, encoding=encoding, key_columns=keys)
            raw = load_table(table, folder or source.parent, options, log)
        else:
            wanted = None if options.classes is None else tuple(map(clean_name, options.classes))
            if kind == "coco":
                raw = load_coco(source, folder, log, year=year, unlisted=unlisted)
            elif kind == "voc":
                raw = load_voc(source, folder, log, year=year, unlisted=unlisted)
            else:
                raw = load_nuswide(
                    source, folder, vocabulary=vocabulary, unlisted=unlisted, minus_one=minus_one, zero=zero
                )
    return assemble(
        raw,
        source,
        log,
        classes=wanted,
        valid_fraction=valid_fraction,
        test_fraction=test_fraction,
        seed=seed,
        check_images=check_images,
        max_pixels=max_pixels,
        workers=workers,
        progress=progress,
    )


def _kind(path: Path, format: str) -> Format:
    """What the path is; never "auto"."""
    if format not in get_args(Format):
        raise ConfigError(f"format is {format!r}, expected one of {', '.join(get_args(Format))}.")
    if not path.exists():
        raise DataError(f"{path}: the file or folder is missing. Check the name.")
    if format != "auto":
        if format == "table" and path.is_dir():
            raise DataError(f"{path}: this is a folder. Pass the table itself, such as {path / 'labels.csv'}.")
        return cast(Format, format)
    if path.is_file():
        suffix = path.suffix.lower()
        if suffix == ".json":
            return "coco"
        if suffix in TABLE_SUFFIXES:
            return "table"
        raise DataError(
            f"{path}: {suffix or 'a name without an ending'} is no label file. Tables end in "
            f"{', '.join(TABLE_SUFFIXES)}, COCO's annotations in .json. Save a workbook as CSV (UTF-8)."
        )
    checks: list[tuple[Format, bool]] = [
        ("coco", is_coco_folder(path)),
        ("voc", is_voc_folder(path)),
        ("nuswide", is_nuswide_folder(path)),
    ]
    kinds = [kind for kind, fits in checks if fits]
    if len(kinds) == 1:
        return kinds[0]
    if kinds:
        raise DataError(f"{path}: the folder looks like {' and like '.join(kinds)}. Pass format=.")
    tables = sorted(file.name for file in path.iterdir() if file.suffix.lower() in TABLE_SUFFIXES)
    if tables:
        raise DataError(f"{path}: this is a folder with {quoted_list(tables)}. Pass the path of the label table.")
    raise DataError(
        f"{path}: the folder holds no labels: neither COCO's annotations/instances_*.json, VOC's "
        "ImageSets/Main, NUS-WIDE's ImageList or *_labels.npy, nor a label table. Pass the path of a table, "
        "and images= for the folder."
    )


def _refuse_foreign_options(kind: Format, year: int | None, vocabulary: str) -> None:
    if year is not None and kind not in ("coco", "voc"):
        raise ConfigError(f"year={year} chooses among COCO's or VOC's sets; this is a {kind}. Leave it out.")
    if vocabulary != "concepts" and kind != "nuswide":
        raise ConfigError(f"vocabulary={vocabulary!r} is for NUS-WIDE; this is a {kind}. Leave it out.")


def _existing_folder(images: str | os.PathLike[str]) -> Path:
    folder = Path(images).expanduser()
    if not folder.is_dir():
        raise DataError(f"{folder}: the folder of the images (images=) is missing. Check the name.")
    return folder
