"""8-bit weights and activations for the image tower of an exported graph."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualcoop.export.description import INPUT

BATCH = 8
NORMALISATION = "ReduceL2"
"""The operation at the end of every image tower: regions get unit length."""


def quantize_int8(path: Path, pixels: NDArray[np.uint8]) -> Any:
    """Quantize statically: ranges of the activations are measured on images and averaged over batches.

    The head stays as it is: it costs little, and errors in the softmax over regions are errors in the scores.
    Activations are unsigned and weights signed, one scale for each output channel: the combination for which
    processors have instructions.

    Args:
        path, pixels: the float32 graph, and squashed images (n, S, S, 3), uint8.

    Returns:
        An onnx.ModelProto with quantize and dequantize operations (QDQ).
    """
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    batches = ({INPUT: batch} for batch in np.split(pixels, range(BATCH, len(pixels), BATCH)))

    class Images(CalibrationDataReader):
        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            return next(batches, None)

    with tempfile.TemporaryDirectory() as folder:
        prepared, quantized = Path(folder) / "prepared.onnx", Path(folder) / "quantized.onnx"
        # Folds BatchNorm into convolutions and constants into each other. Symbolic shapes serve other graphs.
        quant_pre_process(path, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            quantized,
            Images(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_head(onnx.load(prepared).graph),
            extra_options={"CalibMovingAverage": True},
        )
        return onnx.load(quantized)


def _head(graph: Any) -> list[str]:
    """Names of the operations that the normalised regions do not depend on."""
    producer = {output: node for node in graph.node for output in node.output}
    pending = list([node for node in graph.node if node.op_type == NORMALISATION][-1].input)
    tower = set()
    while pending:
        node = producer.get(pending.pop())
        if node is not None and node.name not in tower:
            tower.add(node.name)
            pending += node.input
    return [node.name for node in graph.node if node.name not in tower]
