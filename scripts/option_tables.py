"""The tables of options in docs/command-line.md, made from where the options are declared."""

from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from dualcoop.cli.app import load_command
from dualcoop.cli.front_end import ShellFrontEnd
from dualcoop.data.formats.registry import FORMATS
from dualcoop.errors import Option
from dualcoop.options import choices, expected
from dualcoop.prompts.config import PromptConfig
from dualcoop.training.arguments import TrainingArguments

PAGE = Path(__file__).parents[1] / "docs" / "command-line.md"
TABLES: dict[str, tuple[type[Any], ...]] = {
    "TrainingArguments": (TrainingArguments,),
    "PromptConfig": (PromptConfig,),
    "load_dataset": tuple(format.options for format in FORMATS.values()),
}
"""Classes whose options make up each table, by the name in the page's markers."""


def table(kinds: Iterable[type[Any]]) -> str:
    """A row for each option that has a meaning of its own: its names, what it takes, its default, what it means."""
    front_end = ShellFrontEnd()
    front_end.speak_for(load_command("train").params)
    rows = {}
    for kind in kinds:
        hints = get_type_hints(kind, include_extras=True)
        for each in fields(kind):
            if each.metadata["help"]:
                flag = front_end.spelled(Option(each.name)) or ""
                off = front_end.spelled(Option(each.name, False)) if isinstance(each.default, bool | None) else None
                names = " / ".join(f"`{name}`" for name in (flag, off) if name)
                takes = ", ".join(choices(hints[each.name])) or str(expected(hints[each.name])[0])
                rows[each.name] = (f"`{each.name}`", names, takes, f"`{each.default!r}`", each.metadata["help"])
    head = ("option", "in `dualcoop train`", "takes", "default", "meaning")
    lines = [head, ("---",) * len(head), *rows.values()]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def filled(page: str) -> str:
    """The page with every table as it should be, between its markers."""
    for name, kinds in TABLES.items():
        before, begin, rest = page.partition(f"<!-- options of {name} -->\n")
        _, end, after = rest.partition(f"<!-- end of {name} -->\n")
        page = f"{before}{begin}\n{table(kinds)}\n\n{end}{after}"
    return page


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
