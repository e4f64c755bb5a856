"""Make the images of `dualcoop demo` again from the packages that they come from.

The folder `src/dualcoop/demo/images` holds small copies of openly licensed photographs. Its tables are
written by hand and are the source of everything here:

- `CREDITS.csv`: for every image its title, author, licence, web page, the package and the path inside it;
- `labels.csv`: every class that can be seen in the image, and the split (`train` or `test`);
- `classes.txt`: the classes, one a line.

This script finds each photograph in unpacked packages, turns it upright, makes it small, writes it as a JPEG
without metadata, and checks the tables. It needs Pillow only. Fetch and unpack the packages first; those of
Debian 12 (bookworm) and Debian 13 (trixie) need an apt that knows both releases:

    mkdir packages && cd packages
    apt-get download gcompris-qt-data=3.1-2 scratch=1.4.0.6~dfsg1-6.1 budgie-backgrounds=3.0-1 \\
        lomiri-wallpapers-16.04=20.04.0-4 puzzle-jigsaw=1.0.2+git20201007.527c529+dfsg-5 \\
        wordpress-theme-twentytwentyfour/trixie wordpress-theme-twentytwentyfive/trixie
    for package in *.deb; do dpkg -x "$package" unpacked; done
    pip install --no-deps --target unpacked scikit-learn
    cd ..
    python scripts/build_demo_images.py packages/unpacked

Several folders may be given, for example one per package; each is searched for the paths of `CREDITS.csv`. A
path with an exclamation mark names a file inside a Qt resource file (`erase.rcc!.../alpaca.webp`).
"""

from __future__ import annotations

import argparse
import csv
import io
import struct
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from PIL import Image, ImageOps

LONGER_SIDE = 384  # pixels; smaller originals keep their size
JPEG_QUALITY = 80
MAXIMUM_BYTES = 4_000_000  # all images together: they travel inside the package
MINIMUM_POSITIVES = 3  # per class and split: fewer would make average precision a matter of luck
SPLITS = ("train", "test")
# Licences that allow passing the images on beside Apache-2.0 code, with their credits.
LICENCES = {
    "public domain",
    "CC0-1.0",
    "CC-BY-2.0",
    "CC-BY-3.0",
    "CC-BY-4.0",
    "CC-BY-SA-3.0",
    "CC-BY-SA-4.0",
}
DEFAULT_FOLDER = Path(__file__).resolve().parent.parent / "src" / "dualcoop" / "demo" / "images"


class BuildError(Exception):
    """A table or a package is not as expected; the message says which and what to do."""


def read_table(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file with a header, in file order."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def resource_files(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of every file in a binary Qt resource (`.rcc`), formats 1 to 3.

    The file is a tree of nodes of fixed size; a node is either a folder (count and index of its children) or
    a file (offset of its content, plain or zlib-compressed). All numbers are big-endian.
    """
    if data[:4] != b"qres":
        raise BuildError("not a binary Qt resource file: it does not begin with 'qres'")
    version, tree, contents, names = struct.unpack(">4I", data[4:20])
    node_size = 14 if version == 1 else 22  # from format 2 on, each node ends with a time stamp

    def name_at(offset: int) -> str:
        start = names + offset
        (length,) = struct.unpack(">H", data[start : start + 2])
        return data[start + 6 : start + 6 + 2 * length].decode("utf-16-be")

    def walk(index: int, folder: str) -> Iterator[tuple[str, bytes]]:
        start = tree + index * node_size
        name_offset, flags = struct.unpack(">IH", data[start : start + 6])
        path = f"{folder}/{name_at(name_offset)}".lstrip("/") if index else ""
        if flags & 2:  # a folder
            count, first = struct.unpack(">II", data[start + 6 : start + 14])
            for child in range(first, first + count):
                yield from walk(child, path)
            return
        (offset,) = struct.unpack(">I", data[start + 10 : start + 14])
        (length,) = struct.unpack(">I", data[contents + offset : contents + offset + 4])
        content = data[contents + offset + 4 : contents + offset + 4 + length]
        if flags & 4:
            raise BuildError(f"'{path}' is compressed with zstd, which this script does not read")
        yield path, zlib.decompress(content[4:]) if flags & 1 else content

    yield from walk(0, "")


@cache
def resource_content(path: Path) -> dict[str, bytes]:
    """Return all files of one Qt resource; kept, because many images come from the same one."""
    return dict(resource_files(path.read_bytes()))


def find(path: str, folders: Sequence[Path]) -> Path:
    """Return the file at `path` in one of the folders or in one of their direct subfolders."""
    for folder in folders:
        for candidate in (folder / path, *sorted(folder.glob(f"*/{path}"))):
            if candidate.is_file():
                return candidate
    searched = ", ".join(str(folder) for folder in folders)
    raise BuildError(f"'{path}' is in none of: {searched}. Unpack its package there (see the top of this script).")


def original(path: str, folders: Sequence[Path]) -> bytes:
    """Return the bytes of a photograph named as in `CREDITS.csv`."""
    outer, _, inner = path.partition("!")
    file = find(outer, folders)
    if not inner:
        return file.read_bytes()
    content = resource_content(file)
    if inner not in content:
        raise BuildError(f"'{file}' has no '{inner}'; is it the version that CREDITS.csv names?")
    return content[inner]


def small_jpeg(data: bytes) -> bytes:
    """Return the photograph upright, in RGB, at most `LONGER_SIDE` pixels long, as JPEG without metadata."""
    with Image.open(io.BytesIO(data)) as image:
        image = ImageOps.exif_transpose(image).convert("RGB")
    image.thumbnail((LONGER_SIDE, LONGER_SIDE), Image.Resampling.LANCZOS)
    clean = Image.new("RGB", image.size)  # a new image carries no metadata over
    clean.paste(image)
    output = io.BytesIO()
    clean.save(output, "JPEG", quality=JPEG_QUALITY, optimize=True, progressive=True)
    return output.getvalue()


def check_tables(
    classes: Sequence[str], labels: Sequence[dict[str, str]], credit_rows: Sequence[dict[str, str]]
) -> Counter[tuple[str, str]]:
    """Check the three tables against each other; return the number of positives by (split, class)."""
    for table, rows in (("labels.csv", labels), ("CREDITS.csv", credit_rows)):
        twice = [image for image, count in Counter(row["image"] for row in rows).items() if count > 1]
        if twice:
            raise BuildError(f"{table}: more than one row for {', '.join(twice)}")
    different = {row["image"] for row in labels} ^ {row["image"] for row in credit_rows}
    if different:
        raise BuildError(f"only in one of labels.csv and CREDITS.csv: {', '.join(sorted(different))}")
    for row in credit_rows:
        empty = [column for column in ("title", "author", "package", "path") if not row[column]]
        if empty:
            raise BuildError(f"CREDITS.csv, {row['image']}: nothing in column {', '.join(empty)}")
        if row["licence"] not in LICENCES:
            raise BuildError(
                f"CREDITS.csv, {row['image']}: licence '{row['licence']}' is not one of {sorted(LICENCES)}"
            )
    positives: Counter[tuple[str, str]] = Counter()
    for row in labels:
        names = row["labels"].split(";")
        unknown = [name for name in names if name not in classes]
        if unknown or row["split"] not in SPLITS:
            raise BuildError(f"labels.csv, {row['image']}: unknown class {unknown} or split '{row['split']}'")
        positives.update((row["split"], name) for name in names)
    for name in classes:
        for split in SPLITS:
            if positives[split, name] < MINIMUM_POSITIVES:
                raise BuildError(
                    f"class '{name}' is in {positives[split, name]} {split} images; "
                    f"it must be in at least {MINIMUM_POSITIVES}"
                )
    return positives


def build(folders: Sequence[Path], output: Path) -> None:
    """Check the tables in `output` and write all images beside them."""
    classes = (output / "classes.txt").read_text(encoding="utf-8").split("\n")[:-1]
    labels = read_table(output / "labels.csv")
    credit_rows = read_table(output / "CREDITS.csv")
    positives = check_tables(classes, labels, credit_rows)
    unlisted = {path.name for path in output.glob("*.jpg")} - {row["image"] for row in credit_rows}
    if unlisted:
        raise BuildError(f"images without credits, remove them: {', '.join(sorted(unlisted))}")
    images = {row["image"]: small_jpeg(original(row["path"], folders)) for row in credit_rows}
    total = sum(len(data) for data in images.values())
    if total > MAXIMUM_BYTES:
        raise BuildError(f"the images have {total:,} bytes together; the limit is {MAXIMUM_BYTES:,}")
    for name, data in images.items():
        (output / name).write_bytes(data)
    print(f"{len(images)} images, {total:,} bytes, in {output}")
    for name in classes:
        print(f"  {name:20}" + "".join(f"{positives[split, name]:4} {split}" for split in SPLITS))


def main() -> int:
    """Run from the command line; return the exit status."""
    parser = argparse.ArgumentParser(description="Make the demo's images again from unpacked packages.")
    parser.add_argument(
        "packages", nargs="+", type=Path, help="folder with unpacked packages; may be given more than once"
    )
    parser.add_argument(
        "--output", type=Path, default=DEFAULT_FOLDER, help="folder with the tables (default: %(default)s)"
    )
    arguments = parser.parse_args()
    try:
        build(arguments.packages, arguments.output)
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
