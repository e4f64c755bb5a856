"""NUS-WIDE: the published text files, or label matrices in .npy files."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dualcoop.data.assembly import RawDataset, RawImage, RawPart
from dualcoop.data.formats.options import NusWideOptions, Unlisted
from dualcoop.data.labels import LabelMatrix
from dualcoop.data.problems import ProblemLog, quoted_list
from dualcoop.data.splits import seen_unseen_split
from dualcoop.errors import DataError

PARTS = {"train": "Train", "test": "Test"}
CONCEPT_FILES = ("ConceptsList/Concepts81.txt", "Concepts81.txt")
LABEL_FOLDERS = ("Groundtruth/TrainTestLabels", "TrainTestLabels", "Groundtruth")
TAG_FOLDERS = ("NUS_WID_Tags", "Tags", ".")
IMAGE_FOLDERS = ("Flickr", "images", "Images", "image")
CLASS_FILES = ("classes.txt", "class_names.txt", "all_labels.txt", *CONCEPT_FILES)
BLANKS = b" \t\r\n"
NPY_PARTS = ("train", "valid", "val", "test")


def recognises(path: Path) -> bool:
    """Whether this is a folder with NUS-WIDE's image lists, or pairs of .npy matrices and image names."""
    return path.is_dir() and ((path / "ImageList").is_dir() or bool(_matrix_files(path)))


def load(path: Path, images: Path | None, options: NusWideOptions, log: ProblemLog) -> RawDataset:
    """Read NUS-WIDE.

    Text files: ImageList/{Train,Test}Imagelist.txt; the 81 concepts from ConceptsList/Concepts81.txt and
    Groundtruth/TrainTestLabels/Labels_*_{Train,Test}.txt; the tags from NUS_WID_Tags/TagList1k.txt and
    {Train,Test}_Tags1k.dat, of which the 925 are used that are no concepts (the seen classes of the zero-shot split).

    Matrices: {train,valid,val,test}_labels.npy (images, classes) and {...}_images.npy or .txt, with or
    without "formatted_" before them, and the class names, one a line, in classes.txt, class_names.txt,
    all_labels.txt or Concepts81.txt. Without a test matrix, val is for testing.

    Args:
        path: folder of the files.
        images: folder of the images; the subfolder Flickr or images when None.
        options: the text files have the `vocabulary` "concepts" (81, human labels), "tags" (925, Flickr users' tags)
            or "all" (925 + 81), matrices the columns that they have; with `unlisted="unknown"` a tag that a user did
            not give is unknown, otherwise absent.
        log: not used: these files are right or wrong as a whole.

    Raises:
        DataError: when a file is missing or its size does not fit the others.
    """
    folder = images or next((path / name for name in IMAGE_FOLDERS if (path / name).is_dir()), path)
    matrices = _matrix_files(path)
    if matrices and not (path / "ImageList").is_dir():
        return _load_matrices(path, folder, matrices, options)
    tags = [] if options.vocabulary == "concepts" else list(seen_unseen_split("nuswide-925-81").seen)
    concepts = [] if options.vocabulary == "tags" else _lines(_find(path, CONCEPT_FILES))
    parts = []
    for split, word in PARTS.items():
        file = path / "ImageList" / f"{word}Imagelist.txt"
        listed = _listed(_lines(file))
        blocks = [_read_tags(path, word, tags, len(listed), options.unlisted)] if tags else []
        blocks += [_read_concepts(path, word, concepts, len(listed))] if concepts else []
        parts.append(RawPart(split, str(file), listed, folder, np.concatenate(blocks, axis=1)))
    notes = ["a tag that was not given counts as absent"] if tags and options.unlisted != "unknown" else []
    return RawDataset((*tags, *concepts), parts, notes)


def _listed(names: Sequence[str]) -> list[RawImage]:
    # The lists were written on Windows: actor\0001_2124494179.jpg
    return [RawImage(row, name.replace("\\", "/")) for row, name in enumerate(names, start=1)]


def _find(root: Path, names: Sequence[str]) -> Path:
    found = next((root / name for name in names if (root / name).is_file()), None)
    if found is None:
        raise DataError(f"{root / names[0]}: the file is missing (also looked for {quoted_list(names[1:])}). Add it.")
    return found


def _lines(file: Path) -> list[str]:
    if not file.is_file():
        raise DataError(f"{file}: the file is missing. Add it from the published archive.")
    try:
        text = file.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: the file is not UTF-8 ({error}). Save it as UTF-8.") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise DataError(f"{file}: the file is empty. Extract it again from the published archive.")
    return lines


def _read_concepts(root: Path, word: str, concepts: Sequence[str], count: int) -> LabelMatrix:
    """Labels of the concepts, int8 (count, concepts), +1 and -1."""
    files = (_find(root, [f"{folder}/Labels_{name}_{word}.txt" for folder in LABEL_FOLDERS]) for name in concepts)
    given = np.concatenate([_binary_values(file, count, 1) for file in files], axis=1)
    return np.where(given > 0, np.int8(1), np.int8(-1))


def _read_tags(root: Path, word: str, tags: Sequence[str], count: int, unlisted: Unlisted) -> LabelMatrix:
    """Labels of the chosen tags, int8 (count, tags)."""
    all_tags = _lines(_find(root, [f"{folder}/TagList1k.txt" for folder in TAG_FOLDERS]))
    position = {name: index for index, name in enumerate(all_tags)}
    missing = [name for name in tags if name not in position]
    if missing:
        raise DataError(f"{root}: TagList1k.txt lacks the tags {quoted_list(missing)}. Use the published list.")
    file = _find(root, [f"{folder}/{word}_Tags1k.dat" for folder in TAG_FOLDERS])
    given = _binary_values(file, count, len(all_tags))[:, [position[name] for name in tags]]
    return np.where(given > 0, np.int8(1), np.int8(0 if unlisted == "unknown" else -1))


def _binary_values(file: Path, rows: int, columns: int) -> npt.NDArray[np.uint8]:
    """A text matrix of 0 and 1, uint8 (rows, columns); the 323 MB of tags in a second rather than minutes.

    Raises:
        DataError: when it holds anything else, or another number of values.
    """
    content = file.read_bytes()
    digits = content.translate(None, BLANKS)
    others = digits.translate(None, b"01")
    if others:
        position = content.index(others[:1])
        row = content.count(b"\n", 0, position) + 1
        raise DataError(f"{file}, row {row}: found {chr(others[0])!r}, expected 0 and 1. Extract the file again.")
    if len(digits) != rows * columns:
        what = f"it holds {len(digits)} values, expected {rows} images x {columns} = {rows * columns}"
        raise DataError(what, where=str(file), remedy="use image lists and labels of the same release")
    return (np.frombuffer(digits, dtype=np.uint8) - ord("0")).reshape(rows, columns)


def _matrix_files(folder: Path) -> dict[str, tuple[Path, Path]]:
    """(matrix, image names) by the part in their names."""
    found: dict[str, tuple[Path, Path]] = {}
    for part, prefix, suffix in product(NPY_PARTS, ("", "formatted_"), (".npy", ".txt")):
        files = folder / f"{prefix}{part}_labels.npy", folder / f"{prefix}{part}_images{suffix}"
        if all(file.is_file() for file in files):
            found.setdefault(part, files)
    return found


def _load_matrices(
    root: Path, folder: Path, files: dict[str, tuple[Path, Path]], options: NusWideOptions
) -> RawDataset:
    classes = tuple(_lines(_find(root, CLASS_FILES)))
    split_of = {"val": "valid" if "test" in files else "test"}
    parts = []
    for part, (matrix_file, names_file) in files.items():
        values = _load_npy(matrix_file)
        is_text = names_file.suffix == ".txt"
        names = _lines(names_file) if is_text else [str(name).strip() for name in _load_npy(names_file)]
        if values.shape != (len(names), len(classes)):
            what = f"the matrix is {values.shape}, expected ({len(names)}, {len(classes)}), from {names_file.name}"
            raise DataError(f"{what} and the classes", where=str(matrix_file), remedy="use files that belong together")
        wrong = ~np.isin(values, (-1, 0, 1))
        if wrong.any():
            row, column = (int(index) for index in np.argwhere(wrong)[0])
            where = f"{matrix_file}, row {row + 1}"
            raise DataError(f"{classes[column]!r} is {values[row, column]}", where=where, remedy="use 1, 0 and -1")
        if options.minus_one is None and (values == -1).any():
            row = int((values == -1).any(axis=1).argmax())
            raise options.minus_one_unclear(f"{matrix_file}, row {row + 1}", "the matrix")
        zero, minus_one = -(options.zero == "absent"), -(options.minus_one == "absent")
        labels = np.select([values == 1, values == 0], [np.int8(1), np.int8(zero)], np.int8(minus_one))
        parts.append(RawPart(split_of.get(part, part), str(matrix_file), _listed(names), folder, labels))
    return RawDataset(classes, parts, [])


def _load_npy(file: Path) -> npt.NDArray[np.generic]:
    try:
        return np.load(file, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        remedy = "save it as a plain array: np.save(name, np.asarray(values)), names as str, labels as int8"
        raise DataError(f"it cannot be read without pickle ({error})", where=str(file), remedy=remedy) from error
