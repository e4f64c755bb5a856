"""What a run must write down so that anyone can judge and repeat it."""

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from dualcoop.files import write_file

PACKAGES = (
    *("dualcoop", "torch", "torchvision", "open_clip_torch", "timm", "numpy", "scikit-learn", "pillow"),
    "safetensors",
)


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def machine() -> dict[str, Any]:
    """Processor, threads and accelerator."""
    return {
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cpu_count": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def write_json(content: dict[str, Any], path: Path) -> None:
    """Readable JSON, replaced as a whole; numbers that are not finite have no place in it."""
    write_file(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
