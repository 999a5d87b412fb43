"""The GRU as an ONNX graph that computes pieces of many texts together.

PyTorch's exporter unrolls a GRU to a fixed number of steps, so the graph is
written here and the trained weights are put into it.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper

from build import graph_surgery
from build.export import OPSET
from build.gru import GruClassifier

MAX_PIECE = 1024
"""Token ids of one piece; it bounds the memory of a batch."""
PADDING = 0
"""An id that is skipped, so that a piece without any token has something to send."""

_GRAPH = """
<ir_version: 10, opset_import: ["": {opset}]>
gru_classifier (int64[tokens] input_ids, int32[rows, 1] kept, int32[rows, 1] row_shapes,
                float[rows, {hidden}] hidden)
    => (float[rows, 2] probabilities, float[rows, {hidden}] hidden_after)
{{
    # Refuses, as graph_surgery.py does, where more ids are to be kept than there are.
    negative = Less (kept, zero_32)
    too_many = Greater (kept, row_shapes)
    outside = Or (negative, too_many)
    outside_64 = Cast <to: int = 7> (outside)
    outsides = ReduceSum <keepdims: int = 0> (outside_64)
    shape_if_inside = Mul (outsides, impossible)
    kept_checked = Reshape (kept, shape_if_inside)

    # Where each row lies among the ids of all rows, without the padding.
    lengths_32 = Squeeze (row_shapes, ones)
    lengths = Cast <to: int = 7> (lengths_32)
    ends = CumSum (lengths, zero)
    starts = Sub (ends, lengths)
    kept_32 = Squeeze (kept_checked, ones)
    kept_64 = Cast <to: int = 7> (kept_32)
    kept_ends = Add (starts, kept_64)
    is_padding = Equal (input_ids, padding)
    is_token = Not (is_padding)
    is_token_64 = Cast <to: int = 7> (is_token)
    tokens_up_to = CumSum (is_token_64, zero)
    tokens_before = Concat <axis: int = 0> (zeros, tokens_up_to)
    first = Gather (tokens_before, starts)
    end = Gather (tokens_before, ends)
    kept_end = Gather (tokens_before, kept_ends)
    seen_tokens = Sub (end, first)
    kept_tokens = Sub (kept_end, first)

    # From one row of tokens to [longest, rows]; behind the end of a text lies padding.
    # One row more than there are, since a GRU of no rows ends the process.
    first_more = Concat <axis: int = 0> (first, zeros)
    seen_more = Concat <axis: int = 0> (seen_tokens, zeros)
    hidden_more = Concat <axis: int = 0> (hidden, no_hidden)
    tokens = Compress <axis: int = 0> (input_ids, is_token)
    tokens_and_padding = Concat <axis: int = 0> (tokens, padding)
    at_padding = Shape (tokens)
    seen_or_one = Concat <axis: int = 0> (seen_tokens, ones)
    longest = ReduceMax <keepdims: int = 0> (seen_or_one)
    steps = Range (zero, longest, one)
    step_column = Unsqueeze (steps, ones)
    at = Add (step_column, first_more)
    is_seen = Less (step_column, seen_more)
    at_or_padding = Where (is_seen, at, at_padding)
    ids = Gather (tokens_and_padding, at_or_padding)
    embedded = Gather (embeddings, ids)

    # The state after every step, the one from before in front.
    hidden_first = Unsqueeze (hidden_more, zeros)
    stepped, last_hidden = GRU <hidden_size: int = {hidden}, linear_before_reset: int = 1>
        (embedded, input_weights, hidden_weights, biases, , hidden_first)
    stepped_rows = Squeeze (stepped, ones)
    states = Concat <axis: int = 0> (hidden_first, stepped_rows)

    # What is kept is the state after the ids that are final; the answer is after all.
    row_count = Shape <start: int = 0, end: int = 1> (hidden)
    row_count_scalar = Squeeze (row_count, zeros)
    row_numbers = Range (zero, row_count_scalar, one)
    row_column = Unsqueeze (row_numbers, ones)
    kept_column = Unsqueeze (kept_tokens, ones)
    kept_places = Concat <axis: int = 1> (kept_column, row_column)
    hidden_after = GatherND (states, kept_places)
    seen_column = Unsqueeze (seen_tokens, ones)
    seen_places = Concat <axis: int = 1> (seen_column, row_column)
    seen = GatherND (states, seen_places)
    logits = Gemm <transB: int = 1> (seen, output_weights, output_bias)
    probabilities = Softmax <axis: int = 1> (logits)
}}
"""


def to_onnx(network: GruClassifier, labels: Sequence[str]) -> onnx.ModelProto:
    """Makes the graph of a trained network, with its refusals and its label.

    Inputs: `input_ids` INT64 [tokens], the ids of all rows after each other;
    `kept` INT32 [rows, 1], how many of a row's ids are final; `row_shapes`
    INT32 [rows, 1], how many ids a row has; `hidden` FP32 [rows, hidden], the
    state before. Outputs: `probabilities` FP32 [rows, 2] after all ids of a row,
    `label` STRING [rows, 1], and `hidden_after`, the state after the final ones.

    Args:
        network: The trained network.
        labels: In the order of its logits.
    """
    hidden = network.gru.hidden_size
    model = onnx.parser.parse_model(_GRAPH.format(opset=OPSET, hidden=hidden))
    for name, value in {**_weights(network), **_constants()}.items():
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    check = next(node for node in model.graph.node if node.output[0] == "kept_checked")
    check.name = "kept must be from 0 to the number of input_ids"
    last_id = len(network.embeddings) - 1
    graph_surgery.refuse_outside(
        model, "input_ids", 0, last_id, f"input_ids must be token ids from 0 to {last_id}"
    )
    graph_surgery.refuse_outside(
        model,
        "row_shapes",
        1,
        MAX_PIECE,
        f"input_ids must have from 1 to {MAX_PIECE} tokens",
    )
    graph_surgery.add_label_output(model, labels)
    # The state last, as the config has it after the outputs.
    model.graph.output.append(model.graph.output.pop(1))
    return model


@torch.no_grad()
def _weights(network: GruClassifier) -> dict[str, npt.NDArray[np.float32]]:
    """The weights as ONNX has them: the gates in another order, in one direction."""
    gru = network.gru
    inputs, hiddens, input_bias, hidden_bias = (
        _update_gate_first(gru.get_parameter(f"{name}_l0"))
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    weights = {
        # The projection of every token of the vocabulary, computed once for all.
        "embeddings": network.project(network.embeddings),
        "input_weights": inputs[None],
        "hidden_weights": hiddens[None],
        "biases": torch.cat([input_bias, hidden_bias])[None],
        "output_weights": network.output.weight,
        "output_bias": network.output.bias,
        "no_hidden": torch.zeros(1, gru.hidden_size),
    }
    return {name: weight.numpy() for name, weight in weights.items()}


def _update_gate_first(parameter: torch.Tensor) -> torch.Tensor:
    """PyTorch stacks reset, update, new; ONNX update, reset, new."""
    reset, update, new = parameter.chunk(3)
    return torch.cat([update, reset, new])


def _constants() -> dict[str, npt.NDArray[np.generic]]:
    return {
        "zero": np.array(0),
        "zero_32": np.array(0, np.int32),
        "zeros": np.array([0]),
        "one": np.array(1),
        "ones": np.array([1]),
        "padding": np.array([PADDING]),
        "impossible": np.array([0, 1 << 32]),
    }
