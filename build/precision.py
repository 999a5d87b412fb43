"""The same graph with numbers of fewer bits: int8 for processors, fp16 for GPUs."""

import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.float16 import convert_float_to_float16


def to_int8(model: onnx.ModelProto) -> onnx.ModelProto:
    """Quantizes the linear layers: weights to int8, activations when they are computed."""
    logging.getLogger().setLevel(logging.ERROR)  # it advises to preprocess, which gains nothing
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "model.onnx"), Path(folder, "quantized.onnx")
        onnx.save(model, source)
        quantize_dynamic(
            source,
            target,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["MatMul", "Gemm"],
            extra_options={"MatMulConstBOnly": True},
        )
        return onnx.load(target)


def to_fp16(model: onnx.ModelProto) -> onnx.ModelProto:
    """Converts weights and arithmetic to FP16; inputs and outputs stay as they are."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converted: onnx.ModelProto = convert_float_to_float16(copy, keep_io_types=True)
    return converted


CONVERSIONS: dict[str, Callable[[onnx.ModelProto], onnx.ModelProto]] = {
    "int8": to_int8,
    "fp16": to_fp16,
}
