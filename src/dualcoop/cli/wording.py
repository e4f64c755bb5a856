"""The library's messages speak Python; here its options are called as the command line calls them."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

DATA_FORMAT = "data_format"
"""What the commands call `load_dataset`'s `format`, which is the format of the output there."""
OUTPUT_FOLDER = "output_dir"
"""What `TrainingArguments` calls `train`'s `--output`."""
LOCAL_WEIGHTS = re.compile(r'call create_backbone\("([^"]+)", pretrained="([^"]+)"\)')
HUB_BACKBONE = re.compile(r"give class names: DualCoOp\.from_pretrained\('([^']+)', classes=\[\.\.\.\]\)")
SAVED_WITH = "the model needs the backbone"
IN_PYTHON = "use the model in Python: DualCoOp.from_pretrained(FOLDER, backbone=create_backbone(...))"

# Remedies for which no option has the argument's name.
REMEDIES = (
    (r", correct the spelling, or leave them out with classes=\[\.\.\.\]", " or correct the spelling"),
    (r", or name the classes with classes=\[\.\.\.\]", ""),
    (r"with PromptConfig\(class_specific=False\)", "with --shared"),
    (r"(?<=Scale it down); if it is meant to be that large, raise PIL\.Image\.MAX_IMAGE_PIXELS and max_pixels", ""),
    (r"(?<=Scale it down), or allow it with max_pixels=\d+", ""),
    (r'(for (\S+): give a checkpoint file), pretrained="([^"]+)"', r"\1: \2@\3"),
    (
        r", and a new one needs class names: DualCoOp\.from_pretrained\(.+?, classes=\[\.\.\.\]\)",
        ". Give the folder that `dualcoop train` wrote, or owner/name on the hub",
    ),
    (r"leave out pretrained='([^']+)'", r"leave out @\1"),
)

_rule: ContextVar[Callable[[str], str]] = ContextVar("rewording", default=str)


@contextmanager
def rewording(rule: Callable[[str], str]) -> Iterator[None]:
    """While a command runs, `reworded` follows its rule."""
    token = _rule.set(rule)
    try:
        yield
    finally:
        _rule.reset(token)


def reworded(message: object) -> str:
    """A problem or an error of the library in the words of the command that is running."""
    return _rule.get()(str(message))


def as_typed(message: str, options: Iterable[str]) -> str:
    """Turn `unlisted='absent'` into `--unlisted absent`, `strict=True` into `--strict`, a first `epochs is` likewise.

    Remedies that only Python has are left out or replaced by those of the command line.

    Args:
        message: of an error or a warning.
        options: names of the command's parameters; others stay as they are.
    """
    flags = {name: "--" + name.replace("_", "-") for name in options}
    if not flags:
        return message
    for pattern, typed in REMEDIES:
        message = re.sub(pattern, typed, message)
    return _with_flags(_with_backbone(message, "backbone" in flags), flags)


def _with_backbone(message: str, is_option: bool) -> str:
    """Ways to another backbone; a trained model keeps its own, which only Python can bring from elsewhere."""
    if SAVED_WITH in message:
        return message.replace("pass backbone=create_backbone(...)", IN_PYTHON)
    if not is_option:
        return HUB_BACKBONE.sub(r"give \1", message)
    message = HUB_BACKBONE.sub(r"give --backbone \1 instead, and what to look for", message)
    return LOCAL_WEIGHTS.sub(r"pass --backbone \1@\2", message)


def _with_flags(message: str, flags: dict[str, str]) -> str:
    flags = dict(flags)
    if DATA_FORMAT in flags:
        flags["format"] = flags[DATA_FORMAT]
    if "output" in flags:
        flags[OUTPUT_FOLDER] = flags["output"]
    spellings = "|".join(sorted(map(re.escape, flags), key=len, reverse=True))

    def replace(match: re.Match[str]) -> str:
        flag, value = flags[match[1]], re.sub("['\"]", "", match[2] or "")
        return f"{flag} {value}" if value and value != "True" else flag

    message = re.sub(rf"^({spellings})(?= is )", lambda match: flags[match[1]], message)
    # One value, or several in quotes: 'crop' or 'published'. Lists and calls are Python's own.
    values = r"('[^']*'(?:(?:, or | or |, )'[^']*')*|\"[^\"]*\"|\w+)?"
    message = re.sub(rf"(?<![\w.])({spellings})=(?!\[|\w+\(){values}", replace, message)
    long_ones = "|".join(re.escape(name) for name in flags if "_" in name)
    if not long_ones:
        return message
    # No prose has an underscore; a file or a quoted column may.
    return re.sub(rf"(?<![\w./\\'\"-])({long_ones})(?![\w/\\'\"=(-]|\.\w)", lambda match: flags[match[1]], message)
