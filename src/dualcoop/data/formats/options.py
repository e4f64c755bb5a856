"""How a data set is to be read: every option once, for `load_dataset` and for front ends."""

import unicodedata
from dataclasses import dataclass
from typing import Literal, TypeAlias

from dualcoop.data.problems import quoted_list
from dualcoop.errors import AnyOf, ConfigError, DataError, Option
from dualcoop.options import Counted, check_options, option

Unlisted: TypeAlias = Literal["auto", "absent", "unknown"]
Meaning: TypeAlias = Literal["absent", "unknown"]
Duplicates: TypeAlias = Literal["skip", "merge"]
OtherLabels: TypeAlias = Literal["report", "ignore"]
Vocabulary: TypeAlias = Literal["concepts", "tags", "all"]

PANEL = "Data"
IF_UNLISTED_IS_ABSENT = (
    *("if what is not listed is absent, pass ", Option("unlisted", "absent"), "; to keep this reading without the "),
    *("warning, pass ", Option("unlisted", "unknown")),
)
"""Remedy for labels of which none is known to be absent."""


def clean_name(name: str) -> str:
    """A class name without outer blanks, its accents composed (NFC), so that equal names compare equal."""
    return unicodedata.normalize("NFC", name).strip()


@dataclass(frozen=True)
class FormatOptions:
    """What every format takes; `load_dataset` says what the fields mean.

    Raises:
        ConfigError: for a value that an option does not have.
    """

    classes: tuple[str, ...] | None = option(None)
    unlisted: Unlisted = option(
        "auto",
        "Meaning of a label that a row does not list; auto: unknown where there is an absent column or one column for "
        "each class, otherwise absent.",
        panel=PANEL,
    )

    def __post_init__(self) -> None:
        if self.classes is not None:
            names = tuple(map(clean_name, self.classes))
            repeated = sorted({name for name in names if names.count(name) > 1})
            if repeated or not names or "" in names:
                what = f"come more than once: {quoted_list(repeated)}" if repeated else "are missing or empty"
                raise ConfigError(what, option="classes", remedy="give every class one name")
            object.__setattr__(self, "classes", names)
        check_options(self)


@dataclass(frozen=True)
class DatedOptions(FormatOptions):
    """Of formats that were published for several years."""

    year: Counted | None = option(None, "2007, 2012, 2014 or 2017, for a folder with several.", panel=PANEL)


@dataclass(frozen=True)
class CodedOptions(FormatOptions):
    """Of formats whose labels may be written as 1, 0 and -1."""

    minus_one: Meaning | None = option(None, "Meaning of -1 in class columns; refused without it.", panel=PANEL)
    zero: Meaning = option("absent", "Meaning of 0 in class columns.", panel=PANEL)

    @staticmethod
    def minus_one_unclear(where: str, what: str) -> DataError:
        """The error for a -1 in a column or matrix when `minus_one` does not say what it means."""
        meanings = AnyOf(Option("minus_one", "absent"), Option("minus_one", "unknown"))
        return DataError(
            f"{what} holds -1, which means absent in some data sets and unknown in others",
            where=where,
            remedy=("pass ", meanings, " (and ", Option("zero", "unknown"), " where 0 is)"),
        )


@dataclass(frozen=True)
class TableOptions(CodedOptions):
    """Of label tables."""

    delimiter: str = option(";", "Separates the labels in a cell.", panel=PANEL)
    duplicates: Duplicates = option(
        "skip", "Several rows of one image: skip all but the first, or merge them.", panel=PANEL
    )
    other_labels: OtherLabels = option("report")
    image_column: str | None = option(None, "Column of the image names.", panel=PANEL)
    labels_column: str | None = option(None, "Column of the labels.", panel=PANEL)
    absent_column: str | None = option(None, "Column of absent labels.", panel=PANEL)
    split_column: str | None = option(None, "Column that says train, valid or test.", panel=PANEL)
    encoding: str = option("utf-8", "Of text tables.", panel=PANEL)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.delimiter.strip(" "):
            what = f"is {self.delimiter!r}, expected a character that separates labels, such as ';'"
            raise ConfigError(what, option="delimiter")


@dataclass(frozen=True)
class NusWideOptions(CodedOptions):
    """Of NUS-WIDE."""

    vocabulary: Vocabulary = option("concepts", "Classes of NUS-WIDE.", panel=PANEL)
