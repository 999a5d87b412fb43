"""Adds to an exported ONNX graph: its label, and refusals of bad input.

A refusal is a Reshape whose target shape is impossible for a bad input. ONNX
Runtime computes shapes on the host, so it fails there on every execution
provider (an index out of range, in contrast, is an error on a CPU and silence
on a GPU), and its error message quotes the node's name, which is the
message for the user.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_IMPOSSIBLE = 1 << 32


def add_label_output(model: onnx.ModelProto, labels: Sequence[str]) -> None:
    """Adds the output `label` STRING [batch, 1]: the label of the likeliest class.

    Args:
        model: Has an output `probabilities` FP32 [batch, len(labels)].
        labels: In the order of the classes.
    """
    _constant(model, "labels", np.array(labels, dtype=object))
    model.graph.node.extend(
        [
            helper.make_node("ArgMax", ["probabilities"], ["class"], "class", axis=1, keepdims=1),
            helper.make_node("Gather", ["labels", "class"], ["label"], "label"),
        ]
    )
    shape = [model.graph.output[0].type.tensor_type.shape.dim[0].dim_param, 1]
    model.graph.output.append(helper.make_tensor_value_info("label", TensorProto.STRING, shape))


def refuse_beyond(model: onnx.ModelProto, tensor: str, limit: int) -> None:
    """Makes NaN, and FP32 values below `-limit` or above `limit`, an error that says so.

    Args:
        model: Changed in place.
        tensor: Name of a graph input FP32.
        limit: A power of two.
    """
    # Scaled, the limit is the largest number of FP32 and what is beyond it infinite. Zero times
    # anything finite is zero; the sum is NaN where one value is not.
    scale = _constant(model, "scale", np.finfo(np.float32).max / np.float32(limit))
    flag = [
        helper.make_node("Mul", [tensor, scale], ["scaled"]),
        helper.make_node("Mul", ["scaled", _constant(model, "zero", np.float32(0))], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["sum_of_zeros"], keepdims=0),
        helper.make_node("IsNaN", ["sum_of_zeros"], ["beyond"]),
    ]
    _refuse(model, tensor, flag, f"{tensor} must be finite and from -{limit} to {limit}")


def refuse_outside(model: onnx.ModelProto, tensor: str, low: int, high: int, message: str) -> None:
    """Makes integers below `low` or above `high` an error that says `message`."""
    kind = helper.tensor_dtype_to_np_dtype(_input(model, tensor).elem_type)
    lowest = _constant(model, f"{tensor}_low", np.array(low, kind))
    highest = _constant(model, f"{tensor}_high", np.array(high, kind))
    flag = [
        helper.make_node("Less", [tensor, lowest], [f"{tensor}_below"]),
        helper.make_node("Greater", [tensor, highest], [f"{tensor}_above"]),
        helper.make_node("Or", [f"{tensor}_below", f"{tensor}_above"], [f"{tensor}_outside"]),
    ]
    _refuse(model, tensor, [*flag, *_any(model, f"{tensor}_outside")], message)


def refuse_different(model: onnx.ModelProto, tensor: str, other: str, message: str) -> None:
    """Makes it an error that says `message` if two inputs of one shape are not equal."""
    same, different = f"{tensor}_same", f"{tensor}_different"
    flag = [
        helper.make_node("Equal", [tensor, other], [same]),
        helper.make_node("Not", [same], [different]),
    ]
    _refuse(model, tensor, [*flag, *_any(model, different)], message)


def refuse_masked_first(model: onnx.ModelProto, mask: str, lengths: str, message: str) -> None:
    """Makes it an error that says `message` if a text's mask drops its first token and not all.

    Call it before the refusals of lengths: what is no length of the mask's is told by those.

    Args:
        model: Changed in place.
        mask: Name of the input INT64 [tokens], 0 for what is dropped.
        lengths: Name of the input INT32 [texts, 1]: tokens of each text, 1 or more.
        message: Of the error.
    """
    axis, one = (
        _constant(model, "mask_axis", np.int64(0)),
        _constant(model, "mask_one", np.int64(1)),
    )
    flag = [
        helper.make_node("Cast", [lengths], ["mask_lengths"], to=TensorProto.INT64),
        helper.make_node("CumSum", ["mask_lengths", axis], ["mask_ends"]),
        helper.make_node("Sub", ["mask_ends", "mask_lengths"], ["mask_first"]),
        helper.make_node("Sub", ["mask_ends", one], ["mask_last"]),
        helper.make_node("Cast", [mask], ["mask_kept"], to=TensorProto.BOOL),
        helper.make_node("Cast", ["mask_kept"], ["mask_number"], to=TensorProto.INT64),
        helper.make_node("CumSum", ["mask_number", axis], ["mask_sums"]),
        helper.make_node("Gather", ["mask_sums", "mask_first"], ["mask_sum_first"]),
        helper.make_node("Gather", ["mask_sums", "mask_last"], ["mask_sum_last"]),
        helper.make_node("Less", ["mask_sum_first", "mask_sum_last"], ["mask_has_more"]),
        helper.make_node("Gather", ["mask_kept", "mask_first"], ["mask_has_first"]),
        helper.make_node("Less", ["mask_has_first_number", "mask_has_more_number"], ["mask_wrong"]),
    ]
    for name in ("mask_has_first", "mask_has_more"):
        flag.insert(-1, helper.make_node("Cast", [name], [f"{name}_number"], to=TensorProto.INT64))
    _refuse(model, mask, [*flag, *_any(model, "mask_wrong")], message)


def _any(model: onnx.ModelProto, flags: str) -> list[onnx.NodeProto]:
    """Nodes that tell whether one of several BOOL is set."""
    counted, total, found = f"{flags}_counted", f"{flags}_total", f"{flags}_any"
    zero = _constant(model, f"{flags}_zero", np.int64(0))
    return [
        helper.make_node("Cast", [flags], [counted], to=TensorProto.INT64),
        # A sum, since a maximum of nothing is an error of its own.
        helper.make_node("ReduceSum", [counted], [total], keepdims=0),
        helper.make_node("Greater", [total, zero], [found]),
    ]


def _input(model: onnx.ModelProto, tensor: str) -> onnx.TypeProto.Tensor:
    return next(i.type.tensor_type for i in model.graph.input if i.name == tensor)


def _refuse(model: onnx.ModelProto, tensor: str, flag: list[onnx.NodeProto], message: str) -> None:
    """Puts a Reshape between an input and its users that fails where the flag is set.

    Args:
        model: Changed in place.
        tensor: Name of a graph input.
        flag: Nodes that compute one BOOL from the input, the last one's output.
        message: Name of the Reshape, quoted by ONNX Runtime's error.
    """
    checked = f"{tensor}_{flag[-1].output[0]}_checked"
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name == tensor:
                node.input[index] = checked
    rank = len(_input(model, tensor).shape.dim)
    # In a shape 0 means "as it is"; a set flag makes the last size impossible.
    penalty = np.zeros(rank, np.int64)
    penalty[-1] = _IMPOSSIBLE
    guard = [
        *flag,
        helper.make_node("Cast", [flag[-1].output[0]], [f"{checked}_flag"], to=TensorProto.INT64),
        helper.make_node(
            "Mul",
            [f"{checked}_flag", _constant(model, f"{checked}_penalty", penalty)],
            [f"{checked}_shape"],
        ),
        helper.make_node("Reshape", [tensor, f"{checked}_shape"], [checked], message),
    ]
    for position, node in enumerate(guard):
        node.name = node.name or f"check_{node.output[0]}"
        model.graph.node.insert(position, node)


def _constant(model: onnx.ModelProto, name: str, value: object) -> str:
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return name
