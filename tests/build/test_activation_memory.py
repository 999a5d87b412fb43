"""The memory of a batch, from the shapes that the graph names."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import typer
from onnx import TensorProto, parser
from typer.testing import CliRunner

from build import activation_memory
from build.export import save
from build.packed_attention_reference import Kernel, on_cpu
from build.ragged import pack
from build.variants import to_fp16
from tests.build.conftest import BothWays

LENGTHS = [3, 40, 7]
BATCH = {"texts": len(LENGTHS), "tokens": sum(LENGTHS), "longest": max(LENGTHS)}


def graph(text: str) -> onnx.ModelProto:
    """A graph in ONNX's text form, in which two names of sizes stand for formulas."""
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["": 20]> {text}')
    for value in model.graph.value_info:
        for size in value.type.tensor_type.shape.dim:
            formulas = {"double": "2*tokens", "more": "tokens + 1"}
            size.dim_param = formulas.get(size.dim_param, size.dim_param)
    return model


def test_what_nobody_reads_any_more_makes_room() -> None:
    model = graph("""
        f (float[tokens] x) => (float[tokens] e)
            <float[double] a, float[more] b, float[tokens] c, float[tokens] d>
        { a = Foo (x)
          b = Foo (a)
          c = Foo (b)
          d = Foo (c)
          e = Foo (c, d) }
    """)
    # First a and b of 20 and 11 numbers, then always less.
    assert activation_memory.peak(model, texts=1, tokens=10, longest=10) == (20 + 11) * 4
    # If a is read at the end, all others come to it: c, d and e at last, or b and c before.
    model.graph.node[4].input[0] = "a"
    assert activation_memory.peak(model, texts=1, tokens=10, longest=10) == (20 + 11 + 10) * 4


def test_another_shape_of_a_tensor_takes_no_memory_and_keeps_it() -> None:
    model = graph("""
        f (float[tokens] x, int64[1] s) => (float[tokens] c) <float[tokens] a, float[tokens, 1] v,
            float[tokens] b>
        { a = Foo (x)
          v = Reshape (a, s)
          b = Foo (x)
          c = Foo (v, b) }
    """)
    assert activation_memory.peak(model, texts=1, tokens=10, longest=10) == 3 * 10 * 4


def test_what_the_file_does_not_tell_is_left_out() -> None:
    model = graph(
        "f (float[tokens] x) => (float[tokens] b) <float[unk__1] a> { a = Foo (x) b = Foo (a) }"
    )
    assert set(activation_memory.tensor_bytes(model, **BATCH)) == {"b"}
    model.graph.value_info[0].type.tensor_type.shape.dim[0].dim_param = "tokens // 2"
    with pytest.raises(ValueError, match=r"tokens // 2: it has to be made of \+ and \*"):
        activation_memory.tensor_bytes(model, **BATCH)


@pytest.mark.parametrize("way", ["gathered", "packed"])
def test_sizes_are_those_of_a_real_batch(both_ways: BothWays, way: str) -> None:
    model: onnx.ModelProto = getattr(both_ways, way)
    expected = activation_memory.tensor_bytes(model, **BATCH)
    weights = {each.name for each in model.graph.initializer}
    floats = {
        value.name
        for value in model.graph.value_info
        if value.type.tensor_type.elem_type == TensorProto.FLOAT and value.name not in weights
    }
    assert floats <= set(expected)
    computed = on_cpu(model, Kernel.FUSED) if way == "packed" else onnx.ModelProto()
    if way == "gathered":
        computed.CopyFrom(model)
    kinds = {value.name: value.type for value in model.graph.value_info}
    computed.graph.output.extend(
        onnx.ValueInfoProto(name=name, type=kinds[name]) for name in expected if name in kinds
    )
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(computed.SerializeToString(), options)
    names = [each.name for each in session.get_outputs() if each.name in expected]
    found = session.run(names, pack([[1] * length for length in LENGTHS]))
    assert {name: np.asarray(each).nbytes for name, each in zip(names, found, strict=True)} == {
        name: expected[name] for name in names
    }
    assert len(names) > 90


def test_fp16_takes_half_and_only_the_gathered_graph_pays_for_the_longest(
    both_ways: BothWays,
) -> None:
    def bytes_of(model: onnx.ModelProto, longest: int) -> int:
        return activation_memory.peak(model, texts=1000, tokens=30_000, longest=longest)

    half = to_fp16(both_ways.gathered)
    assert 0.5 < bytes_of(half, 40) / bytes_of(both_ways.gathered, 40) < 0.6
    assert bytes_of(both_ways.gathered, 80) > 1.9 * bytes_of(both_ways.gathered, 40)
    assert bytes_of(both_ways.packed, 80) < 1.1 * bytes_of(both_ways.packed, 40)
    assert activation_memory.weight_bytes(half) < 0.6 * activation_memory.weight_bytes(
        both_ways.gathered
    )


def test_the_command_says_what_a_batch_takes(both_ways: BothWays, tmp_path: Path) -> None:
    save(both_ways.gathered, tmp_path / "model.onnx")
    app = typer.Typer()
    app.command()(activation_memory.main)
    arguments = [
        str(tmp_path / "model.onnx"),
        "--texts",
        "100",
        "--tokens",
        "20",
        "--longest",
        "40",
    ]
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 0
    assert answer.output.startswith("100 texts of 20 tokens, the longest 40: activations ")
