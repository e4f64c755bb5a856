"""COCO's instance annotations: a folder in the layout of 2014 or 2017, or one json file."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dualcoop.counting import counted
from dualcoop.data.assembly import RawDataset, RawImage, RawPart
from dualcoop.data.formats.options import DatedOptions
from dualcoop.data.problems import ProblemLog, quoted_list
from dualcoop.errors import AnyOf, DataError, Option

FILE_NAME = re.compile(r"instances_(train|val|test)(\d{4})\.json")
PART_OF_SPLIT = {"train": "train", "val": "test", "test": "test"}
TRIED_NAMES = 50
EXPECTED = "Expected COCO's instance annotations."


@dataclass
class _Instances:
    path: Path
    images: list[dict[str, Any]]
    annotations: list[tuple[Any, Any, Any]]
    categories: list[tuple[int, str]]


def recognises(path: Path) -> bool:
    """Whether this is a .json file, or a folder with annotations in COCO's layout."""
    return any(_annotation_files(path)) if path.is_dir() else path.suffix.lower() == ".json"


def load(path: Path, images: Path | None, options: DatedOptions, log: ProblemLog) -> RawDataset:
    """Read COCO annotations: the train part is for training, the val part for testing.

    A class is present when the image has an annotation of it (crowds count) and absent otherwise, since COCO
    labels its 80 classes exhaustively; `unlisted="unknown"` takes it for unknown instead. Classes come in the
    order of their category ids. Images without any annotation are dropped, as published.

    Args:
        path: folder with annotations/instances_{train,val}{2014,2017}.json, or one such json file. A file
            whose name does not say its part is for training.
        images: folder of the images, or of the folders train2014, val2014, ...; found beside the annotations when None.
        options, log: see `Format`.

    Raises:
        DataError: when the files are missing, broken, or disagree about the categories.
    """
    files = _choose_files(path, options.year) if path.is_dir() else [path]
    contents = [_read_instances(file) for file in files]
    categories = contents[0].categories
    for content in contents[1:]:
        if content.categories != categories:
            what = f"its categories are not those of {contents[0].path}"
            raise DataError(what, where=str(content.path), remedy="use files of one data set")
    classes = tuple(name for _, name in categories)
    column = {category: index for index, (category, _) in enumerate(categories)}
    parts = []
    dropped = 0
    for content in contents:
        part = _part(content, column, images, path, log)
        annotated = (part.labels > 0).any(axis=1)
        dropped += int((~annotated).sum())
        if options.unlisted != "unknown":
            part.labels[part.labels == 0] = -1
        part.images = [part.images[index] for index in np.flatnonzero(annotated)]
        part.labels = part.labels[annotated]
        parts.append(part)
    if not any(part.images for part in parts):
        raise DataError(f"{path}: no image has an annotation. Check that these are instance annotations.")
    notes = [f"left out {counted(dropped, 'image')} without any annotation"] if dropped else []
    return RawDataset(classes, parts, notes)


def _annotation_files(folder: Path) -> dict[tuple[int, str], Path]:
    """Files by (year, part), in the folder or in its subfolder `annotations`."""
    files = [file for place in (folder, folder / "annotations") for file in sorted(place.glob("instances_*.json"))]
    matches = [(FILE_NAME.fullmatch(file.name), file) for file in files]
    return {(int(match[2]), match[1]): file for match, file in matches if match}


def _choose_files(folder: Path, year: int | None) -> list[Path]:
    found = _annotation_files(folder)
    years = sorted({found_year for found_year, _ in found})
    if year is None and len(years) > 1:
        remedy = ("pass ", AnyOf(Option("year", years[0]), "the path of one json file"))
        raise DataError(f"it has annotations of {' and '.join(map(str, years))}", where=str(folder), remedy=remedy)
    chosen = years[0] if year is None and years else year
    # 2014 and 2017 have no public labels for the test images; a file by that name is a set of one's own.
    parts = [part for part in ("train", "test", "val") if (chosen, part) in found]
    if not parts:
        what = f"there is no annotations/instances_train{chosen or 2014}.json"
        there_are = f"there are annotations of {', '.join(map(str, years))}"
        raise DataError(what, where=str(folder), remedy=there_are if years else "check the folder")
    if {"test", "val"} <= set(parts):
        parts.remove("test")
    assert chosen is not None
    return [found[chosen, part] for part in parts]


def _slim(record: dict[str, Any]) -> Any:
    """Keep three fields of an annotation: segmentations make up nearly all of a file's size."""
    if "image_id" in record and "category_id" in record:
        return (record["image_id"], record["category_id"], record.get("id"))
    return record


def _read_instances(path: Path) -> _Instances:
    try:
        content = json.loads(path.read_bytes(), object_hook=_slim)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: this is no readable JSON ({error}). Download it again.") from error
    if isinstance(content, list):
        raise DataError(f"{path}: this is a JSON list, not COCO's format. Save records as .jsonl, one a line.")
    missing = [key for key in ("images", "annotations", "categories") if not isinstance(_get(content, key), list)]
    if missing:
        raise DataError(f"{path}: lists are missing: {quoted_list(missing)}. {EXPECTED}")
    try:
        categories = sorted((int(record["id"]), str(record["name"]).strip()) for record in content["categories"])
    except (TypeError, KeyError, ValueError) as error:
        raise DataError(f"{path}: a category lacks its id or its name. {EXPECTED}") from error
    for position, what in enumerate(("id", "name")):
        if len({category[position] for category in categories}) < len(categories):
            raise DataError(f"{path}: two categories have the same {what}. Give each its own.")
    if not categories:
        raise DataError(f"{path}: the list of categories is empty. {EXPECTED}")
    return _Instances(path, content["images"], content["annotations"], categories)


def _get(content: Any, key: str) -> Any:
    return content.get(key) if isinstance(content, dict) else None


def _part(content: _Instances, column: dict[int, int], images: Path | None, path: Path, log: ProblemLog) -> RawPart:
    match = FILE_NAME.fullmatch(content.path.name)
    split = PART_OF_SPLIT[match[1]] if match else "train"
    listed: list[RawImage] = []
    position: dict[Any, int] = {}
    for image in content.images:
        ident, name = _get(image, "id"), _get(image, "file_name")
        row = ident if isinstance(ident, int) else None
        if ident is None or not isinstance(name, str) or not name:
            log.report(content.path, row, None, "an image lacks its id or its file_name", "Add it")
        elif ident in position:
            log.report(content.path, row, name, "the image's id is used twice", "Give each image its own id")
        else:
            position[ident] = len(listed)
            listed.append(RawImage(row, name))
    labels = np.zeros((len(listed), len(column)), dtype=np.int8)
    for record in content.annotations:
        if not isinstance(record, tuple):
            row = _get(record, "id")
            log.report(content.path, row, None, "an annotation lacks its image_id or category_id", "Add it")
            continue
        image_id, category, row = record
        if image_id not in position:
            reason = f"an annotation is about image {image_id!r}, which is not listed"
            log.report(content.path, row, None, reason, "List the image")
        elif category not in column:
            reason = f"an annotation has category {category!r}, which is not listed"
            log.report(content.path, row, listed[position[image_id]].name, reason, "List the category")
        else:
            labels[position[image_id], column[category]] = 1
    folder = _image_folder(content.path, match[1] + match[2] if match else "", images, path, listed)
    return RawPart(split, str(content.path), listed, folder, labels)


def _image_folder(file: Path, part: str, images: Path | None, path: Path, listed: Sequence[RawImage]) -> Path:
    """The first likely folder that has one of the first images."""
    bases = [images] if images is not None else [path if path.is_dir() else file.parent, file.parent.parent]
    places = [place for base in bases for place in (base / part, base / "images" / part, base / "images", base)]
    places = [place for place in places if place.is_dir()]
    first = listed[:TRIED_NAMES]
    return next((place for place in places if any((place / each.name).is_file() for each in first)), places[0])
