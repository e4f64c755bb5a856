"""The library's messages speak Python; here its options are called as the command line calls them."""

import re
from collections.abc import Iterable

DATA_FORMAT = "data_format"
"""What the commands call `load_dataset`'s `format`, which is the format of the output there."""
LOCAL_WEIGHTS = re.compile(r'call create_backbone\("([^"]+)", pretrained="([^"]+)"\)')


def as_typed(message: str, options: Iterable[str]) -> str:
    """Turn `unlisted='absent'` into `--unlisted absent`, `strict=True` into `--strict`, a first `epochs is` likewise.

    Args:
        message: of an error or a warning.
        options: names of the command's parameters; others stay as they are.
    """
    flags = {name: "--" + name.replace("_", "-") for name in options}
    if DATA_FORMAT in flags:
        flags["format"] = flags[DATA_FORMAT]
    if not flags:
        return message
    spellings = "|".join(sorted(map(re.escape, flags), key=len, reverse=True))

    def replace(match: re.Match[str]) -> str:
        flag, value = flags[match[1]], (match[2] or "").strip("'\"")
        return f"{flag} {value}" if value and value != "True" else flag

    if "backbone" in flags:
        message = LOCAL_WEIGHTS.sub(r"pass --backbone \1@\2", message)
    message = re.sub(rf"^({spellings})(?= is )", lambda match: flags[match[1]], message)
    return re.sub(rf"(?<![\w.])({spellings})=('[^']*'|\"[^\"]*\"|\w+)?", replace, message)
