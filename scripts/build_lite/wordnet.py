"""Nouns of WordNet 3.0 and their hypernyms, read from the published `data.noun` file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Synset:
    """One meaning: its names, the offsets of its hypernyms, its gloss and its lexicographer file."""

    names: tuple[str, ...]
    hypernyms: tuple[str, ...]
    gloss: str
    lexicographer: int


def read_nouns(folder: Path) -> dict[str, Synset]:
    """Noun synsets by their eight-digit offset.

    Raises:
        FileNotFoundError: when `folder` has no `data.noun`.
    """
    synsets = {}
    for line in (folder / "data.noun").read_text(encoding="utf-8").splitlines():
        if line.startswith("  "):  # the licence
            continue
        head, _, gloss = line.partition("|")
        fields = head.split()
        name_count = int(fields[3], 16)
        names = tuple(fields[4 + 2 * i].replace("_", " ") for i in range(name_count))
        pointers = fields[5 + 2 * name_count :]
        pairs = zip(pointers[0::4], pointers[1::4], strict=False)
        hypernyms = tuple(offset for symbol, offset in pairs if symbol in ("@", "@i"))
        definition = gloss.split(";")[0].strip()
        synsets[fields[0]] = Synset(names, hypernyms, definition, int(fields[1]))
    return synsets


def ancestors(synsets: Mapping[str, Synset], offset: str) -> list[str]:
    """Offsets of all hypernyms, direct and indirect, in rising order: a set would differ between runs."""
    found: set[str] = set()
    stack = [offset]
    while stack:
        for parent in synsets[stack.pop()].hypernyms:
            if parent not in found:
                found.add(parent)
                stack.append(parent)
    return sorted(found)
