"""Pascal VOC 2007 and 2012: JPEGImages, Annotations and ImageSets/Main."""

from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from dualcoop.counting import counted
from dualcoop.data.assembly import RawDataset, RawImage, RawPart
from dualcoop.data.formats.options import DatedOptions
from dualcoop.data.problems import ProblemLog
from dualcoop.errors import AnyOf, DataError, Option


@dataclass
class _Objects:
    present: set[str] = field(default_factory=set)
    difficult: set[str] = field(default_factory=set)
    filename: str | None = None


def recognises(path: Path) -> bool:
    """Whether this is the folder of a VOC data set, or a VOCdevkit that holds some."""
    return path.is_dir() and bool(_roots(path))


def load(path: Path, images: Path | None, options: DatedOptions, log: ProblemLog) -> RawDataset:
    """Read a VOC folder: trainval is for training, test for testing.

    Without labels for the test part (VOC 2012 keeps them private) train is for training and val for testing.
    Objects marked difficult do not count: an image whose only dog is difficult has no dog, its label is
    absent. The classes are the names found in the annotations, in alphabetical order, which is VOC's own.

    Args:
        path: VOC2007, VOC2012, or the VOCdevkit above them.
        images: folder of the images; JPEGImages when None.
        options, log: see `Format`; with `unlisted="unknown"` a class without an object is unknown, otherwise absent.

    Raises:
        DataError: when lists or annotations are missing as a whole.
    """
    root = _choose_root(path, options.year)
    parts, notes = _image_lists(root)
    annotations = {split: _read_part(root, file, log) for split, file in parts}
    objects = [entry for part in annotations.values() for _, _, entry in part]
    classes = tuple(sorted(set().union(*(entry.present | entry.difficult for entry in objects))))
    if not classes:
        raise DataError(f"{root / 'Annotations'}: no annotation names an object. Check the folder.")
    only_difficult = sum(bool(entry.difficult - entry.present) for entry in objects)
    if only_difficult:
        without = f"{counted(only_difficult, 'image')} with a class that has no other object there, which is absent"
        notes.append(f"objects marked difficult do not count: {without}")
    column = {name: index for index, name in enumerate(classes)}
    raw = []
    for split, file in parts:
        entries = annotations[split]
        labels = np.full((len(entries), len(classes)), -(options.unlisted != "unknown"), dtype=np.int8)
        for index, (_, _, entry) in enumerate(entries):
            labels[index, [column[name] for name in entry.difficult]] = -1
            labels[index, [column[name] for name in entry.present]] = 1
        folder = images or root / "JPEGImages"
        listed = [RawImage(row, _image_name(folder, ident, entry)) for row, ident, entry in entries]
        raw.append(RawPart(split, str(file), listed, folder, labels))
    return RawDataset(classes, raw, notes)


def _roots(folder: Path) -> list[Path]:
    places = [folder, *sorted(folder.glob("VOC[0-9]*")), *sorted(folder.glob("VOCdevkit/VOC[0-9]*"))]
    return [place for place in places if (place / "ImageSets" / "Main").is_dir()]


def _choose_root(path: Path, year: int | None) -> Path:
    roots = _roots(path)
    if year is not None:
        roots = [root for root in roots if root.name == f"VOC{year}"] or (roots if roots == [path] else [])
    if not roots:
        wanted = "" if year is None else f" of {year}"
        raise DataError(f"{path}: there is no VOC data set{wanted} with ImageSets/Main in it. Check the folder.")
    if len(roots) > 1:
        remedy = AnyOf(("choose by ", Option("year")), "pass the path of one of them")
        raise DataError(f"it holds {', '.join(root.name for root in roots)}", where=str(path), remedy=remedy)
    return roots[0]


def _image_lists(root: Path) -> tuple[list[tuple[str, Path]], list[str]]:
    """Lists of images by part, and a note where they are not the usual ones."""
    names = ("train", "val", "trainval", "test")
    lists = {name: file for name in names if (file := root / "ImageSets" / "Main" / f"{name}.txt").is_file()}
    tested = [ident for _, ident in _identifiers(lists["test"])] if "test" in lists else []
    if "trainval" in lists and any((root / "Annotations" / f"{ident}.xml").is_file() for ident in tested):
        return [("train", lists["trainval"]), ("test", lists["test"])], []
    if {"train", "val"} <= lists.keys():
        note = "the test part has no labels here: trained on train, tested on val"
        return [("train", lists["train"]), ("test", lists["val"])], [note]
    if "trainval" in lists:
        return [("train", lists["trainval"])], ["the test part has no labels here"]
    if "train" in lists:
        return [("train", lists["train"])], []
    raise DataError(f"{root / 'ImageSets/Main'}: there is no trainval.txt and no train.txt. Check the folder.")


def _identifiers(file: Path) -> list[tuple[int, str]]:
    lines = file.read_text("utf-8", errors="replace").splitlines()
    return [(row, line.split()[0]) for row, line in enumerate(lines, start=1) if line.strip()]


def _read_part(root: Path, file: Path, log: ProblemLog) -> list[tuple[int, str, _Objects]]:
    entries = []
    for row, ident in _identifiers(file):
        annotation = root / "Annotations" / f"{ident}.xml"
        try:
            entries.append((row, ident, _read_objects(annotation)))
        except (OSError, ValueError, ElementTree.ParseError) as error:
            why = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
            log.report(file, row, ident, f"its annotation {annotation} {why}", "Extract the annotations again")
    return entries


def _read_objects(file: Path) -> _Objects:
    tree = ElementTree.parse(file).getroot()
    objects = _Objects(filename=tree.findtext("filename"))
    for element in tree.iterfind("object"):
        name = (element.findtext("name") or "").strip()
        if not name:
            raise ValueError("an object has no name")
        difficult = (element.findtext("difficult") or "0").strip() == "1"
        (objects.difficult if difficult else objects.present).add(name)
    return objects


def _image_name(folder: Path, ident: str, entry: _Objects) -> str:
    name = f"{ident}.jpg"
    # Data sets made in VOC's format keep other formats too; their annotation names the file.
    if entry.filename and entry.filename != name and not (folder / name).is_file():
        return entry.filename
    return name
