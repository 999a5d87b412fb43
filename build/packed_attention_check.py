"""Checks a graph with `PackedMultiHeadAttention` where no GPU is: all but the kernels themselves.

The nodes are those that the kernels take, ONNX Runtime's own schema accepts the graph, the two
tensors that describe the packing are right, and with the operator in standard ONNX operators the
graph answers what the gathered graph does, in FP32 and FP16.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NoKernel

from build import variants
from build.errors import BuildError
from build.export import Sample
from build.manifest import CHECKED_ON_GPU
from build.packed_attention_reference import OPERATOR, Kernel, attention_nodes, on_cpu
from build.recipe import Gates
from build.variants import Candidate

_MAX_FP16_DIFFERENCE = 0.02  # of a probability from FP32; texts in the middle lose most
Floats = npt.NDArray[np.float32]


def candidate(
    model: onnx.ModelProto, layers: int, gathered: Path, samples: Sequence[Sample], gates: Gates
) -> Candidate:
    """Checks a graph, makes it FP16 and checks that.

    Args:
        model: The packed classifier with the operator, in FP32.
        layers: How many layers its encoder has.
        gathered: The same classifier with attention in standard operators, in FP32.
        samples: Real texts.
        gates: The largest difference that passes, in FP32.

    Returns:
        The FP16 graph, and one that a processor computes in its place.

    Raises:
        BuildError: A check failed.
    """
    half = variants.to_fp16(model)
    asked = [*samples, *edges(samples[0])]
    expected = answers(_session(gathered), asked)
    differences = {}
    for precision, graph, limit in (
        ("fp32", model, gates.difference),
        ("fp16", half, _MAX_FP16_DIFFERENCE),
    ):
        check_nodes(graph, layers)
        check_schema(graph)
        check_packing(graph, asked)
        differences[precision] = max(
            compare(graph, kernel, asked, expected, limit) for kernel in Kernel
        )
    facts: dict[str, object] = {
        "operator": OPERATOR,
        CHECKED_ON_GPU: False,
        "largest_difference": differences,
    }
    return Candidate(half, facts, on_cpu(half, Kernel.FUSED))


def edges(sample: Sample) -> list[Sample]:
    """What real texts are not: none, one token, and texts that are padded or masked whole."""
    ids = np.resize(sample["input_ids"], 8)
    masked = np.array([1, 1, 0, 1, 0, 0, 0, 0])
    lengths = np.array([[5], [3]], np.int32)
    one = np.ones((1, 1), np.int32)
    return [
        {name: tensor[:0] for name, tensor in sample.items()},
        _sample(ids[:1], np.ones(1, np.int64), one),
        _sample(ids, masked, lengths),
    ]


def check_nodes(model: onnx.ModelProto, layers: int) -> None:
    """Checks that the nodes are what the kernels and their reference take.

    Raises:
        BuildError: It names the node and what is wrong.
    """
    nodes = attention_nodes(model)
    if len(nodes) != layers:
        raise BuildError(f"{OPERATOR}: {len(nodes)} nodes for {layers} layers; not published")
    for node in nodes:
        *_, bias, offsets, lengths = [*node.input, *[""] * 6][:6]
        attributes = {attribute.name for attribute in node.attribute}
        if attributes != {"num_heads", "scale"}:
            raise _wrong(node, f"attributes {sorted(attributes)}, not num_heads and scale")
        if len(node.input) != 6 or bias or not all(node.input[:3]):
            raise _wrong(node, "inputs other than query, key, value and the packing")
        if [offsets, lengths] != list(nodes[0].input[4:]):
            raise _wrong(node, "a packing of its own")


def check_schema(model: onnx.ModelProto) -> None:
    """Has ONNX Runtime check types and shapes by its own schema of the operator.

    A processor has no kernel, which ONNX Runtime says after that.

    Raises:
        BuildError: The graph does not fit the schema.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.strict_shape_type_inference", "1")
    try:
        onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        if not isinstance(error, NoKernel) or f"{OPERATOR}(1)" not in str(error):
            raise BuildError(
                f"{OPERATOR}: ONNX Runtime refuses the graph: {error}; not published"
            ) from error


def check_packing(model: onnx.ModelProto, samples: Sequence[Sample]) -> None:
    """Checks the two tensors that describe the packing.

    Raises:
        BuildError: One is not what the operator's description says.
    """
    first = attention_nodes(model)[0]
    names = list(first.input[4:])
    beginning = onnx.ModelProto()
    beginning.CopyFrom(model)
    graph = beginning.graph
    del graph.node[list(model.graph.node).index(first) :], graph.output[:]
    graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.INT32, None) for name in names
    )
    session = _session(beginning.SerializeToString())
    for sample in samples:
        for name, found, expected in zip(
            ("token_offset", "cumulative_sequence_length"),
            session.run(names, sample),
            packing_of(sample),
            strict=True,
        ):
            if not np.array_equal(found, expected):
                raise BuildError(
                    f"{OPERATOR}: {name} is {found.tolist()}, not {expected.tolist()}"[:500]
                )


def packing_of(sample: Sample) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """What the operator has to be told about a batch, from its description alone.

    Returns:
        `token_offset` INT32 [texts, longest]: the places of all tokens in a padded batch, in
        order, then those without a token; `cumulative_sequence_length` INT32 [texts + 1].
    """
    masks = np.split(sample["attention_mask"], sample["row_shapes"][:, 0].cumsum())[:-1]
    # A text is read by its first token, masked or not.
    counts = [max(1, np.count_nonzero(mask)) for mask in masks]
    longest = max([1, *counts])
    tokens = np.arange(longest) < np.array(counts, np.int64).reshape(-1, 1)
    offsets = np.concatenate([np.flatnonzero(tokens), np.flatnonzero(~tokens)])
    return (
        offsets.astype(np.int32).reshape(len(counts), longest),
        np.cumsum([0, *counts], dtype=np.int32),
    )


def compare(
    model: onnx.ModelProto,
    kernel: Kernel,
    samples: Sequence[Sample],
    expected: Sequence[Floats],
    limit: float,
) -> float:
    """Compares a graph whose operator is computed in standard ones with the gathered graph.

    Args:
        model: The graph with the operator.
        kernel: How the operator is computed.
        samples: What is asked.
        expected: What the gathered graph answers to each.
        limit: The largest difference of a probability that passes.

    Returns:
        The largest difference.

    Raises:
        BuildError: It is above the limit, or the graph fails.
    """
    session = _session(on_cpu(model, kernel).SerializeToString())
    try:
        found = answers(session, samples)
    except Exception as error:
        raise BuildError(f"{OPERATOR}: {error}; not published") from error
    largest = 0.0
    for ours, theirs in zip(found, expected, strict=True):
        difference = float(np.abs(ours - theirs).max(initial=0.0))
        if ours.shape != theirs.shape or not difference <= limit:  # NaN must fail, too
            raise BuildError(
                f"{OPERATOR}: a probability differs from the gathered graph's by {difference:.1e}, "
                f"allowed is {limit:.0e} ({kernel.name.lower()}); not published"
            )
        largest = max(largest, difference)
    return largest


def answers(session: onnxruntime.InferenceSession, samples: Sequence[Sample]) -> list[Floats]:
    """The probabilities of each sample, FP32 [texts, classes]."""
    return [session.run(["probabilities"], sample)[0] for sample in samples]


def _session(model: Path | bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what it says of failures is in their exceptions
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _sample(
    ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64], lengths: npt.NDArray[np.int32]
) -> Sample:
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "row_shapes": lengths,
        "mask_shapes": lengths,
    }


def _wrong(node: onnx.NodeProto, what: str) -> BuildError:
    return BuildError(f"{OPERATOR}: {node.name} has {what}; not published")
