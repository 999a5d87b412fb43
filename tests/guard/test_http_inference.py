"""Reading the bodies of requests over HTTP, and writing them again."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.guard.checks.request import check_inference
from server.guard.http.body import Body, BodyMemory
from server.guard.http.generate import read_generate
from server.guard.http.inference import as_binary, read_infer
from server.guard.http.json_body import write
from server.guard.inference import SharedMemory
from server.guard.refusal import Refusal
from server.guard.settings import GuardSettings
from tests.guard.described import description, takes

SETTINGS = GuardSettings(max_json=64 << 10)
INPUT = {"name": "x", "shape": [1, 2], "datatype": "INT32", "data": [1, 2]}


def read(content: object, binary: bytes = b"", settings: GuardSettings = SETTINGS) -> Any:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return read_infer(body + binary, len(body) if binary else None, "m", "", settings)


def refused(content: object, binary: bytes = b"") -> Refusal:
    with pytest.raises(Refusal) as raised:
        read(content, binary)
    return raised.value


def test_what_is_sent_on_says_what_was_read() -> None:
    asked = {"name": "y", "parameters": {"binary_data": True, "classification": 3}}
    content = {"id": "1", "parameters": {"a": 1}, "inputs": [INPUT], "outputs": [asked]}
    made = read(content)
    assert orjson.loads(write(made.content)) == content
    assert made.inference.id == "1"
    assert made.inference.inputs[0].data == [1, 2]
    assert made.inference.outputs[0].class_count == 3


def test_triton_gets_the_data_of_the_json_behind_it_in_the_order_of_the_inputs() -> None:
    model = description(
        takes("FP32", 2, name="a"),
        takes("INT32", 1, name="b"),
        takes("BYTES", 1, name="c"),
        outputs=(("y", "FP32", (1,)),),
    )
    inputs = [
        {"name": "a", "shape": [1, 2], "datatype": "FP32", "data": [[0.5, 1]]},
        {
            "name": "b",
            "shape": [1, 1],
            "datatype": "INT32",
            "parameters": {"binary_data_size": 4},
        },
        {
            "name": "c",
            "shape": [1, 1],
            "datatype": "BYTES",
            "parameters": {"x": 1},
            "data": ["\u00e4\u0000"],
        },
    ]
    made = read({"id": "1", "inputs": inputs, "outputs": [{"name": "y"}]}, b"\x07\0\0\0")
    moved: Any = as_binary(made, check_inference(made.inference, model))
    assert moved.binary == (
        np.array([0.5, 1], np.float32).tobytes() + b"\x07\0\0\0" + b"\x03\0\0\0\xc3\xa4\0"
    )
    first, second, third = moved.content["inputs"]
    assert first == {
        "name": "a",
        "shape": [1, 2],
        "datatype": "FP32",
        "parameters": {"binary_data_size": 8},
    }
    assert second == inputs[1]
    assert third["parameters"] == {"x": 1, "binary_data_size": 7}
    assert "data" not in third
    assert (moved.content["id"], moved.content["outputs"]) == ("1", [{"name": "y"}])
    assert moved.inference.digest() == made.inference.digest()


def test_what_comes_in_binary_is_passed_on_as_it_is() -> None:
    model = description(takes("INT32", 1))
    content = {"name": "x", "shape": [1, 1], "datatype": "INT32"}
    made = read({"inputs": [{**content, "parameters": {"binary_data_size": 4}}]}, b"\x01\0\0\0")
    assert as_binary(made, check_inference(made.inference, model)) is made


def test_of_a_key_given_twice_one_is_left() -> None:
    text = b'{"inputs":[{"name":"a","name":"x","shape":[1],"datatype":"INT32","data":[1]}]}'
    made = read(text)
    assert write(made.content).count(b'"name"') == 1
    assert made.inference.inputs[0].name == "x"


def test_binary_data_is_handed_out_in_the_order_of_the_inputs() -> None:
    inputs = [
        {"name": n, "shape": [1], "datatype": "INT32", "parameters": {"binary_data_size": 4}}
        for n in "ab"
    ]
    made = read({"inputs": inputs}, b"\x01\0\0\0\x02\0\0\0")
    assert [bytes(each.data) for each in made.inference.inputs] == [b"\x01\0\0\0", b"\x02\0\0\0"]


@pytest.mark.parametrize(
    ("data", "shape"),
    [([1, 2, 3, 4], [2, 2]), ([[1, 2], [3, 4]], [2, 2]), ([[[1], [2]], [[3], [4]]], [2, 2, 1])],
)
def test_nested_lists_are_flattened(data: list[Any], shape: list[int]) -> None:
    made = read({"inputs": [{**INPUT, "shape": shape, "data": data}]})
    assert made.inference.inputs[0].data == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\x00\xff",
        b'{"inputs":[{"name":"\xff"}]}',
        b'{"inputs":[NaN]}',
        b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[Infinity]}]}',
        b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32","data":[1e999]}]}',
        b'{"inputs":[{"name":"\\ud800","shape":[1],"datatype":"FP32","data":[1]}]}',
        {"inputs": {}},
        {"inputs": [1]},
        {"inputs": [INPUT] * 300},
        {"inputs": [INPUT], "unknown": 1},
        {"inputs": [{**INPUT, "unknown": 1}]},
        {"inputs": [INPUT], "id": 7},
        {"inputs": [INPUT], "parameters": []},
        {"inputs": [INPUT], "outputs": [{"name": 1}]},
        {"inputs": [INPUT], "outputs": [{"name": "y", "parameters": {"classification": 0}}]},
        {"inputs": [INPUT], "outputs": [{"name": "y", "parameters": {"classification": True}}]},
        {"inputs": [INPUT], "outputs": [{"name": "y", "parameters": {"binary_data": 1}}]},
        {"inputs": [INPUT], "outputs": [{"name": "y", "data": []}]},
        {"inputs": [{**INPUT, "name": None}]},
        {"inputs": [{**INPUT, "shape": 2}]},
        {"inputs": [{**INPUT, "shape": [1] * 17}]},
        {"inputs": [{**INPUT, "data": 1}]},
        {"inputs": [{**INPUT, "data": None}]},
        {"inputs": [{**INPUT, "data": [[1, 2], [3]]}]},
        {"inputs": [{**INPUT, "data": [[1], [2]]}]},
        {"inputs": [{**INPUT, "parameters": {"a": [1]}}]},
        {"inputs": [{**INPUT, "parameters": {"shared_memory_offset": True}}]},
        {"inputs": [{**INPUT, "parameters": {"a": "x" * 2000}}]},
        {"inputs": [{**INPUT, "parameters": {"binary_data_size": 8}}]},
        {"inputs": [{"name": "x", "shape": [1], "datatype": "INT32"}]},
        {"inputs": [{"name": "x", "shape": [1], "datatype": 1, "data": [1]}]},
    ],
)
def test_what_is_no_request_is_refused_in_words(content: object) -> None:
    refusal = refused(content)
    assert refusal.http_status == 400
    assert 0 < len(refusal.message) < 500


@pytest.mark.parametrize("size", [-1, 3, 5, 1 << 70, 4.0, "4", None, True])
def test_binary_size_that_is_not_what_is_there_is_refused(size: object) -> None:
    given_ = {"name": "x", "shape": [1], "datatype": "INT32"}
    content = {"inputs": [{**given_, "parameters": {"binary_data_size": size}}]}
    assert refused(content, b"\0\0\0\0").http_status == 400


@pytest.mark.parametrize("header", [0, 10_000])
def test_json_length_beyond_the_body_is_refused(header: int) -> None:
    with pytest.raises(Refusal, match="Inference-Header-Content-Length"):
        read_infer(json.dumps({"inputs": [INPUT]}).encode(), header, "m", "", SETTINGS)


def test_lists_nested_fifty_thousand_deep_are_refused() -> None:
    text = b'{"inputs":[{"name":"x","shape":[1],"datatype":"INT32","data":%b1%b}]}'
    assert refused(text % (b"[" * 25_000, b"]" * 25_000)).http_status == 400


def test_lists_nested_deeper_than_json_is_written_are_refused() -> None:
    data: list[Any] = [1]
    for _ in range(500):
        data = [data]
    made = read({"inputs": [{**INPUT, "shape": [1], "data": data}]})
    with pytest.raises(Refusal):
        check_inference(made.inference, description(takes("INT32", 1), max_batch_size=0))
    with pytest.raises(Refusal):
        write(made.content)


def test_json_is_at_most_so_long_and_what_is_behind_it_is_not_counted() -> None:
    text = {"inputs": [{**INPUT, "data": ["x" * 70_000]}]}
    assert refused(text).http_status == 413
    large = {"name": "x", "shape": [1, 70_000], "datatype": "UINT8"}
    made = read({"inputs": [{**large, "parameters": {"binary_data_size": 70_000}}]}, b"\0" * 70_000)
    assert len(made.binary) == 70_000


def test_shared_memory_is_closed_unless_it_is_switched_on() -> None:
    parameters = {"shared_memory_region": "r", "shared_memory_byte_size": 4}
    given_ = {"name": "x", "shape": [1], "datatype": "INT32", "parameters": parameters}
    refusal = refused({"inputs": [given_]})
    assert refusal.http_status == 403
    assert "SHARED_MEMORY=on" in refusal.message
    on = GuardSettings(shared_memory="on")
    made = read({"inputs": [given_]}, settings=on)
    assert made.inference.inputs[0].data == SharedMemory("r", 4, 0)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["name", "shape", "datatype", "data", "parameters", "inputs", "outputs", "id", "x"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


def status(call: Callable[[], object]) -> int:
    try:
        call()
    except Refusal as refusal:
        return refusal.http_status
    return 200


@given(_JSON, st.binary(max_size=8))
def test_any_json_is_read_or_refused(content: object, binary: bytes) -> None:
    plain, within = (json.dumps(each).encode() for each in (content, {"inputs": [content]}))
    for text in (plain, within):
        length = len(text) if binary else None
        whole = text + binary
        answer = status(partial(read_infer, whole, length, "m", "", SETTINGS))
        assert answer in (200, 400, 403)
    model = description(takes("INT32", -1))
    assert status(lambda: read_generate(plain, model, "", SETTINGS)) in (200, 400)


def test_generate_makes_the_tensors_that_triton_makes() -> None:
    model = description(takes("BYTES", 1, name="TEXT"), takes("INT32", -1, name="ids"))
    body = {"TEXT": "a", "ids": [1, 2], "temperature": 0.5, "id": "7", "parameters": {"a": 1}}
    made = read_generate(json.dumps(body).encode(), model, "", SETTINGS)
    shapes = {each.name: each.shape for each in made.inference.inputs}
    assert shapes == {"TEXT": (1, 1), "ids": (1, 2)}
    assert made.inference.parameters == {"temperature": 0.5}
    assert made.inference.id == "7"


@pytest.mark.parametrize(
    "body", [{"TEXT": {"a": 1}}, {"TEXT": [["a"]]}, {"parameters": {"a": [1]}}, [], "a"]
)
def test_generate_takes_flat_values_only(body: object) -> None:
    model = description(takes("BYTES", 1, name="TEXT"))
    with pytest.raises(Refusal):
        read_generate(json.dumps(body).encode(), model, "", SETTINGS)


def body(coding: bytes = b"", limit: int = 1000, memory: BodyMemory | None = None) -> Body:
    return Body(memory or BodyMemory(10_000, lambda _: False), limit, 10, coding)


@pytest.mark.parametrize(
    ("coding", "pack"), [(b"gzip", gzip.compress), (b"deflate", zlib.compress)]
)
def test_packed_bodies_are_unpacked_and_counted(coding: bytes, pack: Any) -> None:
    memory = BodyMemory(10_000, lambda _: False)
    made = body(coding, memory=memory)
    packed = pack(b"hello" * 100)
    made.add(packed[:10])
    made.add(packed[10:])
    assert asyncio.run(made.read()) == b"hello" * 100
    assert memory.used == len(packed) + 500
    made.release()
    made.release()
    assert memory.used == 0


@pytest.mark.parametrize(
    ("packed", "status"),
    [
        (gzip.compress(b"\0" * 100_000), 413),
        (gzip.compress(b"hello") + b"more", 400),
        (gzip.compress(b"hello")[:-4], 400),
        (gzip.compress(b"a") + gzip.compress(b"b"), 400),
        (b"no gzip", 400),
        (b"", 400),
    ],
)
def test_packed_bodies_that_are_broken_or_too_long_are_refused(packed: bytes, status: int) -> None:
    made = body(b"gzip")
    made.add(packed)
    with pytest.raises(Refusal) as raised:
        asyncio.run(made.read())
    assert raised.value.http_status == status


def test_bodies_are_bounded_in_bytes_in_chunks_and_together() -> None:
    with pytest.raises(Refusal, match="MAX_BODY"):
        body().add(b"x" * 1001)
    chunked = body()
    for _ in range(10):
        chunked.add_chunk()
    with pytest.raises(Refusal, match="MAX_CHUNKS"):
        chunked.add_chunk()
    memory = BodyMemory(1500, lambda _: False)
    first = body(memory=memory)
    first.add(b"x" * 1000)
    with pytest.raises(Refusal) as raised:
        body(memory=memory).add(b"x" * 1000)
    assert raised.value.http_status == 503
    first.release()
    body(memory=memory).add(b"x" * 1000)


def test_who_has_been_arriving_for_longest_makes_room() -> None:
    slow: list[Body] = []

    def make_room(_: Body) -> bool:
        if slow:
            slow.pop(0).release()
            return True
        return False

    memory = BodyMemory(2500, make_room)
    slow += [body(memory=memory), body(memory=memory)]
    for each in slow:
        each.add(b"x" * 1000)
    body(memory=memory).add(b"x" * 1000)
    assert len(slow) == 1
    assert memory.used == 2000


def test_other_codings_are_refused() -> None:
    with pytest.raises(Refusal, match="Content-Encoding"):
        body(b"br")
