"""One function that loads every supported kind of data set."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dualcoop.counting import Progress
from dualcoop.data import assembly
from dualcoop.data.formats.options import Duplicates, Meaning, OtherLabels, Unlisted, Vocabulary
from dualcoop.data.formats.registry import FORMATS, options_for, recognised
from dualcoop.data.images import MAX_PIXELS
from dualcoop.data.labels import SPLIT_NAMES, DatasetSplits, LabelledImages
from dualcoop.data.problems import ProblemLog
from dualcoop.errors import DataError


def load_dataset(
    path: Any,
    *,
    images: str | os.PathLike[str] | None = None,
    format: str = "auto",
    classes: Sequence[str] | None = None,
    unlisted: Unlisted = "auto",
    minus_one: Meaning | None = None,
    zero: Meaning = "absent",
    delimiter: str = ";",
    duplicates: Duplicates = "skip",
    other_labels: OtherLabels = "report",
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
        images: folder that the image names start from; by default the table's own, or the data set's usual one.
        format: what `path` is, "table", "coco", "voc" or "nuswide", when it cannot be told from name and content.
        classes: the classes to learn, in this order. By default those that the data name, sorted (tables), or
            in the data set's own order.
        unlisted: what a label that is not listed (a `labels` column), not annotated (COCO, VOC), not given (tags) or
            left empty (class columns) means: "absent", "unknown", or "auto": unknown in tables with an `absent` column
            or with class columns; absent, with a warning, in tables with a `labels` column alone, except in rows whose
            labels cell is empty, which are unknown; absent in the published data sets.
        minus_one: meaning of -1 in class columns and .npy matrices; without it a -1 is refused.
        zero: meaning of 0 there; "unknown" together with minus_one="absent" reads the paper's matrices.
        delimiter: separates the labels inside a cell.
        duplicates: "skip" keeps the first of equal rows of an image and drops images whose rows differ; "merge" puts
            their labels together (tables with one row for each label) and drops those that contradict.
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
        ConfigError: for options that make no sense, alone or here, and for those that other formats take.
    """
    given = locals()
    frame = hasattr(path, "itertuples")
    source = Path("the data frame") if frame else Path(path).expanduser()
    name = "table" if frame else recognised(source, format)
    options = options_for(name, given)
    log = ProblemLog(strict)
    folder = None if images is None else Path(images).expanduser()
    if folder is not None and not folder.is_dir():
        raise DataError(f"is {str(folder)!r}, which is no folder", option="images", remedy="check the name")
    raw = FORMATS[name].load(path if frame else source, folder, options, log)
    classes = options.classes or raw.classes
    parts: dict[str, LabelledImages] = {}
    places: dict[Path, str] = {}
    for each in raw.parts:
        part, listed = assembly.existing_images(each, raw.classes, places, log)
        if check_images:
            part = assembly.decodable_images(part, listed, each.source, log, max_pixels, workers, progress)
        # Tables are read with these classes; other formats have more.
        parts[each.split] = part if classes == raw.classes else part.select_classes(classes)
    if not any(map(len, parts.values())):
        raise assembly.nothing_left(raw, source, log)
    parts = assembly.with_held_out(parts, {"test": test_fraction, "valid": valid_fraction}, seed)
    kept = {name: parts[name] for name in SPLIT_NAMES if parts.get(name)}
    first = next(iter(kept))
    assembly.report_classes_without_positives(first, kept[first], source, log)
    if log.problems:
        assembly.warn_about(log.problems, source)
    return DatasetSplits(classes, **kept, problems=log.problems, source=str(source), notes=tuple(raw.notes))
