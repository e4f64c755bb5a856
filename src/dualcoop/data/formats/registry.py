"""The table of formats: how each is recognised and loaded, and which options it takes."""

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, fields
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from dualcoop.data.formats.options import DatedOptions, FormatOptions, NusWideOptions, TableOptions
from dualcoop.data.problems import ProblemLog, quoted_list
from dualcoop.errors import AnyOf, ConfigError, DataError, Option

if TYPE_CHECKING:
    from dualcoop.data.assembly import RawDataset

AUTO = "auto"


@dataclass(frozen=True)
class Format:
    """One kind of data set.

    Attributes:
        recognises: whether an existing file or folder is of this kind.
        load: reads it: path, folder of the images (None for the usual one), options, and a log that takes what cannot
            be used; raises a DataError when it is no use as a whole.
        options: class of the options that it takes.
        looks: how it is recognised, in words.
    """

    recognises: Callable[[Path], bool]
    load: "Callable[[Path, Path | None, Any, ProblemLog], RawDataset]"
    options: type[FormatOptions]
    looks: str


def _kept_in(module: str, options: type[FormatOptions], looks: str) -> Format:
    """A format whose module, with `recognises` and `load` in it, is imported when it is needed."""

    def member(name: str) -> Callable[..., Any]:
        return lambda *arguments: getattr(import_module(f"dualcoop.data.formats.{module}"), name)(*arguments)

    return Format(member("recognises"), member("load"), options, looks)


FORMATS: dict[str, Format] = {
    "table": _kept_in("tables.table", TableOptions, "a file .csv, .tsv, .txt, .jsonl, .ndjson or .parquet"),
    "coco": _kept_in("coco", DatedOptions, "a file .json, or annotations/instances_*.json in a folder"),
    "voc": _kept_in("voc", DatedOptions, "ImageSets/Main in a folder"),
    "nuswide": _kept_in("nuswide", NusWideOptions, "ImageList or *_labels.npy in a folder"),
}
"""All formats by name, in the order in which front ends list them and their options."""


def format_options() -> "dict[str, Field[Any]]":
    """Every option that any format takes, by name."""
    return {each.name: each for format in FORMATS.values() for each in fields(format.options)}


def recognised(path: Path, format: str) -> str:
    """Name of the format of a path; never "auto".

    Raises:
        DataError: when it is missing, or of no known format, or seems to be of several.
        ConfigError: when `format` is no format.
    """
    if format not in (AUTO, *FORMATS):
        raise ConfigError(f"is {format!r}, expected one of {', '.join((AUTO, *FORMATS))}", option="format")
    if not path.exists():
        raise DataError("the file or folder is missing", where=str(path), remedy="check the name")
    if format != AUTO:
        return format
    names = [name for name, each in FORMATS.items() if each.recognises(path)]
    if len(names) > 1:
        ways = AnyOf(*(Option("format", name) for name in names))
        raise DataError(f"the folder looks like {' and like '.join(names)}", where=str(path), remedy=("pass ", ways))
    if not names:
        _refuse(path)
    return names[0]


def options_for(name: str, given: Mapping[str, Any]) -> FormatOptions:
    """Options of a format, from values of the options of all formats.

    Raises:
        ConfigError: for a value that an option does not have, or an option of other formats that is not left at its
            default.
    """
    own = {each.name for each in fields(FORMATS[name].options)}
    for option, described in format_options().items():
        if option not in own and given.get(option, described.default) != described.default:
            takers = [other for other, each in FORMATS.items() if hasattr(each.options, option)]
            what = f"is {given[option]!r}, which is for {' and '.join(takers)}; this is a {name}"
            raise ConfigError(what, option=option, remedy="leave it out")
    return FORMATS[name].options(**{option: given[option] for option in own & given.keys()})


def _refuse(path: Path) -> NoReturn:
    known = "; ".join(f"{name} ({format.looks})" for name, format in FORMATS.items())
    if path.is_file():
        what = f"{path.suffix or 'a name without an ending'} is no label file. The formats are {known}"
        raise DataError(what, where=str(path), remedy="save a workbook as CSV (UTF-8)")
    files = [file for file in sorted(path.iterdir()) if file.is_file()]
    labels = [file.name for file in files if any(format.recognises(file) for format in FORMATS.values())]
    if labels:
        what = f"this is a folder with {quoted_list(labels)}"
        raise DataError(what, where=str(path), remedy="pass the path of the label table")
    remedy = ("pass the path of a table, and give the folder with ", Option("images"))
    raise DataError(f"the folder holds no labels in any format: {known}", where=str(path), remedy=remedy)
