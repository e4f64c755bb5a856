"""Models as one ONNX file: written with torch, run without it."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dualcoop.export.onnx_file import ExportedTagger as ExportedTagger
    from dualcoop.export.onnx_file import export_onnx as export_onnx
    from dualcoop.export.tagger import OnnxTagger as OnnxTagger

# Imported when first asked for: whoever runs a file has no torch to write one.
_HOMES = {
    "ExportedTagger": "dualcoop.export.onnx_file",
    "OnnxTagger": "dualcoop.export.tagger",
    "export_onnx": "dualcoop.export.onnx_file",
}

__all__ = ["ExportedTagger", "OnnxTagger", "export_onnx"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
