"""Models as one ONNX file: written with torch, run without it."""

from typing import TYPE_CHECKING

from dualcoop.lazy import lazy_attributes

if TYPE_CHECKING:
    from dualcoop.export.onnx_file import ExportedTagger as ExportedTagger
    from dualcoop.export.onnx_file import export_onnx as export_onnx
    from dualcoop.export.tagger import OnnxTagger as OnnxTagger

# Imported when first asked for: whoever runs a file has no torch to write one.
__all__, __getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "dualcoop.export.onnx_file": ("ExportedTagger", "export_onnx"),
        "dualcoop.export.tagger": ("OnnxTagger",),
    },
)
