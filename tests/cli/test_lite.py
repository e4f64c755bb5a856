"""The real lite from the shell, once: what the tiny backbone of the other tests cannot show."""

import json
import subprocess
import sys

from dualcoop.demo.content import FOLDER


def test_words_alone_tag_photographs_that_ship_with_the_package():
    photos = [FOLDER / name for name in ("chambord.jpg", "clownfish.jpg", "wave.jpg")]
    command = [
        sys.executable,
        "-m",
        "dualcoop",
        "tag",
        *photos,
        "--labels",
        "guitar, fish, castle, wave",
        "-f",
        "jsonl",
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [max(row["scores"], key=row["scores"].get) for row in rows] == ["castle", "fish", "wave"]
    assert rows[0]["labels"] == ["castle"]
    assert result.stderr == ""
