"""The same graph with numbers of fewer bits: int8 for processors, fp16 for GPUs."""

import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.float16 import convert_float_to_float16

_LINEAR_IN_A_LAYER = 4  # query, key and value as one; attention's output; two of the feed-forward


def to_int8(model: onnx.ModelProto) -> onnx.ModelProto:
    """Quantizes the linear layers: weights to int8, activations when they are computed.

    The first layer of the encoder stays FP32, since all others build on its
    errors. Weights get a scale for each channel and 7 bits: with 8, processors
    without VNNI instructions overflow in the sum of two products.
    """
    linear = [node.name for node in model.graph.node if node.op_type == "Gemm"]
    logging.getLogger().setLevel(logging.ERROR)  # it advises to preprocess, which gains nothing
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "model.onnx"), Path(folder, "quantized.onnx")
        onnx.save(model, source)
        quantize_dynamic(
            source,
            target,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            op_types_to_quantize=["MatMul", "Gemm"],
            # Under the name that the quantizer gives a Gemm when it makes a MatMul of it.
            nodes_to_exclude=[f"{name}_MatMul" for name in linear[:_LINEAR_IN_A_LAYER]],
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
