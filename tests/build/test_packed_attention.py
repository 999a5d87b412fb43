"""The graph with `PackedMultiHeadAttention` answers what the gathered graph does."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NoKernel

from build import manifest, packed_attention_check
from build.errors import BuildError
from build.export import Sample, save
from build.manifest import CHECKED_ON_GPU, Manifest
from build.packed_attention_reference import (
    DOMAIN,
    OPERATOR,
    Kernel,
    attention_nodes,
    on_cpu,
)
from build.ragged import pack
from build.recipe import Gates
from build.variants import Candidate, to_fp16
from tests.build.conftest import BothWays

LAYERS, HEADS, LONGEST, VOCABULARY = 2, 4, 40, 150
BATCHES = [pack([[5, 6, 7, 8]]), pack([[1] * LONGEST, [2], [3, 4, 5]])]
Break = Callable[[onnx.ModelProto], None]


Check = Callable[..., Candidate]


@pytest.fixture(scope="module")
def check(both_ways: BothWays, tmp_path_factory: pytest.TempPathFactory) -> Check:
    """Checks the graph with the operator, broken before."""
    path = tmp_path_factory.mktemp("gathered") / "model.onnx"
    save(both_ways.gathered, path)

    def run(break_it: Break = lambda _: None) -> Candidate:
        broken = copied(both_ways.packed, break_it)
        return packed_attention_check.candidate(broken, LAYERS, path, BATCHES, Gates())

    return run


@pytest.fixture(scope="module")
def gathered(both_ways: BothWays) -> onnxruntime.InferenceSession:
    """The gathered graph."""
    return quiet(both_ways.gathered)


@pytest.fixture(scope="module", params=Kernel, ids=lambda kernel: kernel.name.lower())
def packed(request: pytest.FixtureRequest, both_ways: BothWays) -> onnxruntime.InferenceSession:
    """The graph with the operator, which standard operators compute."""
    return quiet(on_cpu(both_ways.packed, request.param))


def copied(model: onnx.ModelProto, break_it: Break) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    break_it(copy)
    return copy


def quiet(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options)


def batch(*rows: tuple[list[int], list[int]]) -> Sample:
    """Texts, each token ids and a mask."""
    made = pack([ids for ids, _ in rows])
    return {**made, "attention_mask": np.array([bit for _, mask in rows for bit in mask], np.int64)}


@st.composite
def rows(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """A text of 1 to the most tokens, whose mask keeps the first one or nothing."""
    ids = draw(st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=LONGEST))
    rest = draw(st.lists(st.integers(0, 1), min_size=len(ids) - 1, max_size=len(ids) - 1))
    return ids, draw(st.sampled_from([[1, *rest], [0] * len(ids)]))


@settings(max_examples=30, deadline=None)
@given(texts=st.lists(rows(), min_size=1, max_size=9))
def test_answers_are_those_of_the_gathered_graph(
    packed: onnxruntime.InferenceSession,
    gathered: onnxruntime.InferenceSession,
    texts: list[tuple[list[int], list[int]]],
) -> None:
    sample = batch(*texts)
    found, expected = (each.run(["probabilities"], sample)[0] for each in (packed, gathered))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_text_whose_first_token_alone_is_masked_is_refused(
    packed: onnxruntime.InferenceSession,
) -> None:
    fine = ([1, 2, 3], [1, 0, 1])
    for wrong in (([4, 5], [0, 1]), ([4, 5, 6, 7], [0, 0, 1, 0])):
        for texts in ([wrong], [fine, wrong], [wrong, fine]):
            with pytest.raises(Exception, match="attention_mask must keep the first token of a"):
                packed.run(None, batch(*texts))


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([[0], [4]], "input_ids must have from 1 to 40 tokens"),
        ([[4], [0]], "input_ids must have from 1 to 40 tokens"),
    ],
)
def test_what_the_gathered_graph_refuses_is_refused_in_the_same_words(
    packed: onnxruntime.InferenceSession, lengths: list[list[int]], message: str
) -> None:
    shapes = np.array(lengths, np.int32)
    with pytest.raises(Exception, match=message):
        packed.run(None, {**pack([[1, 2, 3, 4]]), "row_shapes": shapes, "mask_shapes": shapes})


def test_what_passes_is_fp16_and_waits_for_a_gpu(check: Check) -> None:
    candidate = check()
    differences = candidate.facts.pop("largest_difference")
    assert isinstance(differences, dict)
    assert differences["fp32"] < 1e-5 < differences["fp16"] < 0.01
    assert candidate.facts == {"operator": OPERATOR, "checked_on_gpu": False}
    weights = {each.data_type for each in candidate.model.graph.initializer if len(each.dims) > 1}
    assert weights == {TensorProto.FLOAT16}
    assert {node.op_type for node in attention_nodes(candidate.model)} == {OPERATOR}
    with pytest.raises(NoKernel, match=OPERATOR):
        quiet(candidate.model)


def replace_input(index: int, *nodes: onnx.NodeProto) -> Break:
    """Lets all layers take the last node's output in place of an input."""

    def break_it(model: onnx.ModelProto) -> None:
        at = list(model.graph.node).index(attention_nodes(model)[0])
        for node in attention_nodes(model):
            node.input[index] = nodes[-1].output[0]
        for node in reversed(nodes):
            model.graph.node.insert(at, node)

    return break_it


def of_packing(index: int, operator: str, *more: str, **attributes: object) -> Break:
    """Lets all layers take one of the two tensors of the packing through an operator."""

    def break_it(model: onnx.ModelProto) -> None:
        name = attention_nodes(model)[0].input[index]
        node = helper.make_node(operator, [name, *more], [f"{name}_broken"], **attributes)
        replace_input(index, node)(model)

    return break_it


def attribute(name: str, value: float | None) -> Break:
    """Gives an attribute another value in the last layer, or takes it away."""

    def break_it(model: onnx.ModelProto) -> None:
        node = attention_nodes(model)[-1]
        kept = [each for each in node.attribute if each.name != name]
        if value is not None:
            kept.append(helper.make_attribute(name, value))
        del node.attribute[:]
        node.attribute.extend(kept)

    return break_it


def swap_key_and_value(model: onnx.ModelProto) -> None:
    for node in attention_nodes(model):
        node.input[1], node.input[2] = node.input[2], node.input[1]


def give_one_layer_its_own_packing(model: onnx.ModelProto) -> None:
    node = attention_nodes(model)[-1]
    name = node.input[4]
    node.input[4] = "own"
    at = list(model.graph.node).index(node)
    model.graph.node.insert(at, helper.make_node("Identity", [name], ["own"]))


def leave_a_layer_out(model: onnx.ModelProto) -> None:
    node = attention_nodes(model)[0]
    identity = helper.make_node("Identity", [node.input[0]], list(node.output))
    node.CopyFrom(identity)


def give_a_bias(model: onnx.ModelProto) -> None:
    for node in attention_nodes(model):
        node.input.append("mask_one")


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (of_packing(4, "Neg"), "token_offset is"),
        (of_packing(5, "Neg"), "cumulative_sequence_length is"),
        (of_packing(4, "Cast", to=TensorProto.INT64), "ONNX Runtime refuses the graph: .*int64"),
        (of_packing(5, "Cast", to=TensorProto.FLOAT), "ONNX Runtime refuses the graph: .*float"),
        (attribute("scale", None), "attributes .'num_heads'., not num_heads and scale"),
        (attribute("scale", 1.0), "a probability differs from the gathered graph's by"),
        (attribute("num_heads", 2), "a probability differs from the gathered graph's by"),
        (swap_key_and_value, "a probability differs from the gathered graph's by"),
        (give_one_layer_its_own_packing, "a packing of its own"),
        (give_a_bias, "inputs other than query, key, value and the packing"),
        (leave_a_layer_out, "1 nodes for 2 layers"),
    ],
)
def test_a_graph_that_is_broken_is_refused(check: Check, break_it: Break, message: str) -> None:
    with pytest.raises(BuildError, match=message):
        check(break_it)


def test_a_graph_that_is_changed_but_not_broken_passes(check: Check) -> None:
    # So what the others are refused for is their fault.
    check(of_packing(4, "Abs"))


@pytest.mark.parametrize(
    ("index", "kernel"), [(4, Kernel.UNFUSED), (5, Kernel.FUSED)], ids=["offsets", "lengths"]
)
def test_a_wrong_packing_changes_the_answers_of_the_kernel_that_reads_it(
    both_ways: BothWays, gathered: onnxruntime.InferenceSession, index: int, kernel: Kernel
) -> None:
    # Two neighbours after each other, so that every text but the first gets a wrong token.
    wrong = copied(both_ways.packed, of_packing(index, "Max", "broken_one"))
    one = numpy_helper.from_array(np.int32(1), "broken_one")
    wrong.graph.initializer.append(one)
    expected = packed_attention_check.answers(gathered, BATCHES)
    with pytest.raises(BuildError, match=f"a probability differs .*{kernel.name.lower()}"):
        packed_attention_check.compare(wrong, kernel, BATCHES, expected, 1e-4)


def one_node(heads: int, kind: int) -> onnx.ModelProto:
    """A graph of the operator alone."""
    floats, whole = (kind, ["tokens", None]), TensorProto.INT32
    inputs = [
        *(helper.make_tensor_value_info(name, *floats) for name in ("query", "key", "value")),
        helper.make_tensor_value_info("token_offset", whole, [None, None]),
        helper.make_tensor_value_info("cumulative_sequence_length", whole, [None]),
    ]
    names = [each.name for each in inputs]
    node = helper.make_node(
        OPERATOR,
        [*names[:3], "", *names[3:]],
        ["output"],
        domain=DOMAIN,
        num_heads=heads,
        scale=0.25,
    )
    output = helper.make_tensor_value_info("output", *floats)
    graph = helper.make_graph([node], "attention", inputs, [output])
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 20), helper.make_opsetid(DOMAIN, 1)],
        ir_version=10,
    )


@pytest.mark.parametrize("kernel", Kernel)
@pytest.mark.parametrize(
    ("kind", "dtype", "close"),
    [(TensorProto.FLOAT, np.float32, 1e-5), (TensorProto.FLOAT16, np.float16, 2e-3)],
)
@pytest.mark.parametrize("lengths", [[1], [3, 1, 6], [7, 7], [1, 1, 1], [512]])
def test_the_reference_is_pytorchs_attention_of_each_text_alone(
    kernel: Kernel, kind: int, dtype: type, close: float, lengths: list[int]
) -> None:
    heads, size = 3, 16  # the scale of which is 0.25
    randomness = np.random.default_rng(sum(lengths))
    shape = (3, sum(lengths), heads * size)
    query, key, value = randomness.standard_normal(shape).astype(dtype)
    sample = pack([[0] * length for length in lengths])
    offset, ends = packed_attention_check.packing_of(sample)
    inputs = (query, key, value, offset, ends)
    names = ("query", "key", "value", "token_offset", "cumulative_sequence_length")
    session = quiet(on_cpu(one_node(heads, kind), kernel))
    found = session.run(None, dict(zip(names, inputs, strict=True)))[0]
    assert found.dtype == dtype

    def one(start: int, end: int) -> NDArray[np.float32]:
        q, k, v = (
            torch.from_numpy(each[start:end]).float().view(1, -1, heads, size).transpose(1, 2)
            for each in (query, key, value)
        )
        attended = torch.nn.functional.scaled_dot_product_attention(q, k, v)
        alone: NDArray[np.float32] = attended.transpose(1, 2).reshape(-1, heads * size).numpy()
        return alone

    texts = np.split(np.arange(ends[-1]), ends[1:-1])
    expected = np.concatenate([one(text[0], text[-1] + 1) for text in texts])
    np.testing.assert_allclose(found, expected, atol=close)


def test_the_packing_is_that_of_the_operators_description() -> None:
    # The example in ONNX Runtime's docs/ContribOperators.md: texts of 1, 2 and 4 tokens.
    offset, ends = packed_attention_check.packing_of(pack([[0], [0] * 2, [0] * 4]))
    assert offset.tolist() == [[0, 4, 5, 8], [9, 10, 11, 1], [2, 3, 6, 7]]
    assert ends.tolist() == [0, 1, 3, 7]


def test_fp16_keeps_the_whole_numbers_of_the_packing(both_ways: BothWays) -> None:
    packed_attention_check.check_packing(to_fp16(both_ways.packed), BATCHES)


@pytest.mark.parametrize(
    ("variants", "expected"),
    [
        ({"fp16": {"same_labels": 1.0}, "fp16.packed": {CHECKED_ON_GPU: False}}, ["fp16.packed"]),
        ({"fp16.packed": {CHECKED_ON_GPU: True}}, []),
        ({"fp16.packed": "left out: it differs"}, []),
        (None, []),
    ],
)
def test_the_manifest_names_what_waits_for_a_gpu(
    tmp_path: Path, variants: object, expected: list[str]
) -> None:
    manifest.write(Manifest("bert", {}, {}, 1.0, {"variants": variants}), tmp_path)
    found = manifest.not_checked_on_gpu(tmp_path)
    assert found == [tmp_path / f"model.{name}.onnx" for name in expected]
    assert manifest.not_checked_on_gpu(tmp_path / "elsewhere") == []
