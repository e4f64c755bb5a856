"""How a data set is to be read: every option once, with its choices and the words in which front ends explain it."""

import unicodedata
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, get_args, get_origin

from dualcoop.data.problems import quoted_list
from dualcoop.errors import AnyOf, ConfigError, DataError, Option

Unlisted: TypeAlias = Literal["auto", "absent", "unknown"]
Meaning: TypeAlias = Literal["absent", "unknown"]
Duplicates: TypeAlias = Literal["skip", "merge"]
OtherLabels: TypeAlias = Literal["report", "ignore"]
Vocabulary: TypeAlias = Literal["concepts", "tags", "all"]


class Described(NamedTuple):
    """An option as front ends show it.

    Attributes:
        kind: type of its values.
        choices: the values that it may have, None among them where it may be left open; empty where any will do.
        default: value when it is not given.
        help: what it means; empty where it is for Python alone.
    """

    kind: Any
    choices: tuple[Any, ...]
    default: Any
    help: str


def clean_name(name: str) -> str:
    """A class name without outer blanks, its accents composed (NFC), so that equal names compare equal."""
    return unicodedata.normalize("NFC", name).strip()


@dataclass(frozen=True)
class FormatOptions:
    """What every format takes; `load_dataset` says what the fields mean.

    Raises:
        ConfigError: for a value that an option does not have.
    """

    classes: tuple[str, ...] | None = None
    unlisted: Annotated[
        Unlisted,
        "Meaning of a label that a row does not list; auto: unknown where there is an absent column or one column "
        "for each class, otherwise absent.",
    ] = "auto"

    def __post_init__(self) -> None:
        for name, (_, choices, _, _) in self.described().items():
            value = getattr(self, name)
            if choices and value not in choices:
                raise ConfigError(f"is {value!r}, expected one of {', '.join(map(str, choices))}", option=name)
        if self.classes is not None:
            names = tuple(map(clean_name, self.classes))
            repeated = sorted({name for name in names if names.count(name) > 1})
            if repeated or not names or "" in names:
                what = f"come more than once: {quoted_list(repeated)}" if repeated else "are missing or empty"
                raise ConfigError(what, option="classes", remedy="give every class one name")
            object.__setattr__(self, "classes", names)

    @classmethod
    def described(cls) -> dict[str, Described]:
        """All options of this class by name."""
        found = {}
        for each in fields(cls):
            kind, help = get_args(each.type) if get_origin(each.type) is Annotated else (each.type, "")
            literals = [part for part in (kind, *get_args(kind)) if get_origin(part) is Literal]
            choices = [choice for literal in literals for choice in get_args(literal)]
            if choices and type(None) in get_args(kind):
                choices.append(None)
            found[each.name] = Described(kind, tuple(choices), each.default, help)
        return found


@dataclass(frozen=True)
class DatedOptions(FormatOptions):
    """Of formats that were published for several years."""

    year: Annotated[int | None, "2007, 2012, 2014 or 2017, for a folder with several."] = None


@dataclass(frozen=True)
class CodedOptions(FormatOptions):
    """Of formats whose labels may be written as 1, 0 and -1."""

    minus_one: Annotated[Meaning | None, "Meaning of -1 in class columns; refused without it."] = None
    zero: Annotated[Meaning, "Meaning of 0 in class columns."] = "absent"

    @staticmethod
    def minus_one_unclear(where: str, what: str) -> DataError:
        """The error for a -1 in a column or matrix when `minus_one` does not say what it means."""
        return DataError(
            f"{what} holds -1, which means absent in some data sets and unknown in others",
            where=where,
            remedy=(
                *("pass ", AnyOf(*(Option("minus_one", meaning) for meaning in ("absent", "unknown")))),
                *(" (and ", Option("zero", "unknown"), " where 0 is)"),
            ),
        )


@dataclass(frozen=True)
class TableOptions(CodedOptions):
    """Of label tables."""

    delimiter: Annotated[str, "Separates the labels in a cell."] = ";"
    duplicates: Annotated[Duplicates, "Several rows of one image: skip all but the first, or merge them."] = "skip"
    other_labels: OtherLabels = "report"
    image_column: Annotated[str | None, "Column of the image names."] = None
    labels_column: Annotated[str | None, "Column of the labels."] = None
    absent_column: Annotated[str | None, "Column of absent labels."] = None
    split_column: Annotated[str | None, "Column that says train, valid or test."] = None
    encoding: Annotated[str, "Of text tables."] = "utf-8"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.delimiter.strip(" "):
            what = f"is {self.delimiter!r}, expected a character that separates labels, such as ';'"
            raise ConfigError(what, option="delimiter")


@dataclass(frozen=True)
class NusWideOptions(CodedOptions):
    """Of NUS-WIDE."""

    vocabulary: Annotated[Vocabulary, "Classes of NUS-WIDE."] = "concepts"
