"""The two programs that run an exported graph: ONNX Runtime as written, OpenVINO in bfloat16."""

from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dualcoop.checks import check_choice, check_whole
from dualcoop.errors import ConfigError, ModelError
from dualcoop.export.description import INPUT, OUTPUT

Run: TypeAlias = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Pixels (B, S, S, 3) to probabilities (B, M)."""

PRECISIONS = ("float32", "bfloat16")
CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
ERRORS_ONLY = 3


def open_graph(path: Path, *, device: str, precision: str, threads: int | None) -> tuple[Run, Mapping[str, str]]:
    """A function that runs the graph, and the file's text properties; arguments and errors are `OnnxTagger`'s."""
    check_choice("precision", precision, PRECISIONS)
    if threads is not None:
        check_whole("threads", threads, 1)
    return _onnxruntime(path, device, threads) if precision == "float32" else _openvino(path, device, threads)


def _onnxruntime(path: Path, device: str, threads: int | None) -> tuple[Run, Mapping[str, str]]:
    try:
        import onnxruntime
    except ImportError as error:
        what = f"ONNX files need the package onnxruntime ({error})"
        raise ConfigError(what, remedy="install it: pip install 'dualcoop[onnx]'") from error
    has_cuda = CUDA in onnxruntime.get_available_providers()
    if device not in ("auto", "cpu", "cuda") or (device == "cuda" and not has_cuda):
        here = "auto, cpu or cuda" if has_cuda else "auto or cpu (onnxruntime-gpu has cuda)"
        what = f"is {device!r}, which the installed onnxruntime does not have"
        raise ConfigError(what, option="device", remedy=f"choose {here}")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = ERRORS_ONLY
    if threads is not None:
        options.intra_op_num_threads = threads
    providers = [CUDA, CPU] if has_cuda and device != "cpu" else [CPU]
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    # ONNX Runtime's exceptions share no base but Exception.
    except Exception as error:
        raise _damaged(path, error) from error

    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return session.run([OUTPUT], {INPUT: np.ascontiguousarray(pixels)})[0]

    return run, session.get_modelmeta().custom_metadata_map


def _openvino(path: Path, device: str, threads: int | None) -> tuple[Run, Mapping[str, str]]:
    try:
        import openvino
    except ImportError as error:
        what = f"bfloat16 for ONNX files needs the package openvino ({error})"
        remedy = "install it: pip install 'dualcoop[openvino]', or compute in float32"
        raise ConfigError(what, remedy=remedy) from error
    if device not in ("auto", "cpu"):
        what = f"is {device!r}, but bfloat16 for ONNX files is computed on the processor alone"
        raise ConfigError(what, option="device")
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "bf16"}
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = threads
    try:
        model = openvino.Core().read_model(str(path))
        compiled = openvino.Core().compile_model(model, "CPU", settings)
    # As above.
    except Exception as error:
        raise _damaged(path, error) from error

    # A request serves one thread at a time.
    idle: deque[Any] = deque()

    def run(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        try:
            request = idle.pop()
        except IndexError:
            request = compiled.create_infer_request()
        probabilities = np.array(request.infer([np.ascontiguousarray(pixels)])[OUTPUT], dtype=np.float32)
        idle.append(request)
        return probabilities

    # OpenVINO keeps the file's own properties under this heading.
    properties = dict(model.get_rt_info().items()).get("framework", {})
    return run, {name: str(value.value) for name, value in properties.items()}


def _damaged(path: Path, error: Exception) -> ModelError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ModelError(f"{path}: this is not a complete ONNX file ({reason}). Copy it or export the model again")
