"""The same graph with FP16 numbers, for GPUs."""

import warnings

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16


def convert(model: onnx.ModelProto) -> onnx.ModelProto:
    """Converts weights and arithmetic to FP16; inputs and outputs stay as they are."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converted: onnx.ModelProto = convert_float_to_float16(copy, keep_io_types=True)
    return converted
