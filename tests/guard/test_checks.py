"""What a request may say, by its model's config and bounds."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.guard.checks.options import check_parameters
from server.guard.checks.request import check_inference
from server.guard.descriptions import Description
from server.guard.inference import NUMPY_TYPES, Inference, RequestedOutput, SharedMemory
from server.guard.refusal import Refusal
from tests.guard.described import description, request, takes, tensor

NAN, INF = float("nan"), float("inf")


def strings(*texts: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def raw(datatype: str, *values: Any) -> bytes:
    return np.array(values, NUMPY_TYPES[datatype]).tobytes()


def refusal(*inputs: Any, model: Any, **options: Any) -> str:
    with pytest.raises(Refusal) as raised:
        check_inference(request(*inputs, **options), model)
    assert raised.value.http_status == 400
    assert "\n" not in raised.value.message
    return raised.value.message


def refusal_or_none(asked: Inference, model: Description) -> str | None:
    try:
        check_inference(asked, model)
    except Refusal as refused:
        return refused.message
    return None


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("FP32", [1, 2.5]),
        ("FP32", raw("FP32", 1, NAN)),
        ("FP32", memoryview(raw("FP32", 1, 2))),
        ("FP64", [1e300, -1e300]),
        ("FP16", raw("FP16", 1, 2)),
        ("BF16", b"\x00" * 4),
        ("INT64", [-(1 << 63), (1 << 63) - 1]),
        ("UINT64", [0, (1 << 64) - 1]),
        ("INT8", [-128, 127]),
        ("UINT8", raw("UINT8", 0, 255)),
        ("BOOL", [True, False]),
        ("BOOL", b"\x00\x01"),
        ("BYTES", ["", "text"]),
        ("BYTES", [b"\xff", b""]),
        ("BYTES", strings(b"", b"\xff\x00")),
    ],
)
def test_two_elements_of_any_type_pass(datatype: str, data: Any) -> None:
    check_inference(request(tensor(datatype, (1, 2), data)), description(takes(datatype, -1)))


@pytest.mark.parametrize(
    ("datatype", "data", "words"),
    [
        ("INT64", [1.5, 2], "not a whole number"),
        ("INT64", [True, 2], "not a whole number"),
        ("INT64", ["1", "2"], "not a whole number"),
        ("INT64", [1, 1 << 63], "beyond INT64"),
        ("UINT8", [300, 0], "beyond UINT8"),
        ("UINT8", [-1, 0], "beyond UINT8"),
        ("FP32", [None, 1.0], "not a number"),
        ("FP32", [True, 1.0], "not a number"),
        ("FP32", [1e39, 1.0], "beyond FP32"),
        ("FP32", [[1.0], [2.0]], "not a number"),
        ("BOOL", [0, 1], "not true or false"),
        ("BOOL", b"\x02\x00", "neither 0 nor 1"),
        ("BYTES", [1, 2], "not text"),
        ("BYTES", [["a"], "b"], "not text"),
        ("FP16", [1.0, 2.0], "binary data"),
        ("BF16", [1.0, 2.0], "binary data"),
        ("INT32", [1], "expected 2 elements"),
        ("INT32", [1, 2, 3], "expected 2 elements"),
        ("INT32", b"\x00" * 7, "unexpected total byte size 7"),
        ("INT32", b"", "unexpected total byte size 0"),
        ("BYTES", strings(b"a"), "expected 2 string elements"),
        ("BYTES", strings(b"a", b"b", b"c"), "got more"),
        ("BYTES", strings(b"a", b"b") + b"\x00", "got more"),
        ("BYTES", strings(b"a") + b"\x01\x00", "within the length of element 1"),
        ("BYTES", strings(b"a") + b"\xff\xff\xff\xffb", "within element 1"),
    ],
)
def test_data_that_is_not_what_type_and_shape_say_is_refused(
    datatype: str, data: Any, words: str
) -> None:
    model = description(takes(datatype, -1))
    assert words in refusal(tensor(datatype, (1, 2), data), model=model)


@pytest.mark.parametrize(
    "shape",
    [
        (),
        (2,),
        (1, 3),
        (1, 2, 1),
        (1, -2),
        (1, 2.0),
        (1, True),
        (1, None),
        (9, 2),
        (0, 2),
        (1 << 31, 2),
        (1 << 63, 2),
        (-(1 << 63), 2),
    ],
)
def test_shape_that_the_config_does_not_have_is_refused(shape: tuple[Any, ...]) -> None:
    message = refusal(tensor("FP32", shape, [1.0, 2.0]), model=description(takes("FP32", 2)))
    assert "shape" in message or "batch-size" in message


def test_size_of_zero_does_not_hide_terabytes() -> None:
    model = description(takes("FP32", -1, -1, -1))
    huge = (1 << 31) - 1
    assert "elements" in refusal(tensor("FP32", (1, 0, huge, huge), []), model=model)


@given(st.lists(st.integers(-(1 << 70), 1 << 70), max_size=20))
def test_no_shape_at_all_fails_in_another_way_than_by_a_refusal(shape: list[int]) -> None:
    model = description(takes("FP32", -1, -1), max_batch_size=4)
    refused = refusal_or_none(request(tensor("FP32", tuple(shape), b"\x00" * 8)), model)
    if refused is None:
        assert np.prod(shape) == 2
    else:
        assert len(refused) < 500


@given(st.binary(max_size=40), st.integers(0, 5))
def test_bytes_pass_only_as_so_many_strings(data: bytes, count: int) -> None:
    model = description(takes("BYTES", -1), max_batch_size=0)
    found, at = 0, 0
    while at + 4 <= len(data):
        at += 4 + int.from_bytes(data[at : at + 4], "little")
        found += 1
    right = at == len(data) and found == count
    assert right == (refusal_or_none(request(tensor("BYTES", (count,), data)), model) is None)


def test_inputs_are_those_of_the_model_each_once() -> None:
    a, b = takes("INT32", 1, name="a"), takes("INT32", 1, name="b", optional=True)
    model = description(a, b)
    one, two = (tensor("INT32", (1, 1), [1], name) for name in "ab")
    check_inference(request(one), model)
    check_inference(request(two, one), model)
    assert "missing required input(s) 'a'" in refusal(two, model=model)
    assert "already exists" in refusal(one, one, model=model)
    other = tensor("INT32", (1, 1), [1], "c" * 5000)
    assert len(refusal(one, other, model=model)) < 300
    assert "batch size" in refusal(one, tensor("INT32", (2, 1), [1, 2], "b"), model=model)
    assert "data-type" in refusal(tensor("INT64", (1, 1), [1], "a"), model=model)


OUTPUTS = (("label", "BYTES", (1,)), ("scores", "FP32", (10,)), ("some", "FP32", (-1,)))


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ([("label", 1)], "which is BYTES"),
        ([("scores", 11)], "from 1 to 10"),
        ([("scores", 1 << 62)], "from 1 to 10"),
        ([("scores", -1)], "from 1 to 10"),
        ([("some", 1)], "varies"),
        ([("nothing", 0)], "unexpected inference output 'nothing'"),
        ([("scores", 0), ("scores", 0)], "already exists"),
    ],
)
def test_outputs_are_those_of_the_model_and_classes_those_of_an_output(
    outputs: list[tuple[str, int]], words: str
) -> None:
    model = description(takes("INT32", 1), outputs=OUTPUTS)
    asked = tuple(RequestedOutput(name, count, None) for name, count in outputs)
    assert words in refusal(tensor("INT32", (1, 1), [1]), model=model, outputs=asked)


def test_classes_of_numbers_pass() -> None:
    model = description(takes("INT32", 1), outputs=OUTPUTS)
    asked = (RequestedOutput("scores", 10, None), RequestedOutput("label", 0, None))
    check_inference(request(tensor("INT32", (1, 1), [1]), outputs=asked), model)


@pytest.mark.parametrize(
    ("bounds", "datatype", "data", "words"),
    [
        ({"min": 0, "max": 9}, "INT64", [0, 10], "x must be from 0 to 9"),
        ({"min": 0, "max": 9}, "INT64", raw("INT64", -1, 9), "x must be from 0 to 9"),
        ({"min": 0.0}, "FP32", raw("FP32", NAN, 1), "x must be from 0"),
        ({"min": 0.0}, "FP32", [NAN, 1.0], "x must be from 0"),
        ({"finite": True}, "FP32", raw("FP32", 1, NAN), "x must be finite"),
        ({"finite": True}, "FP32", raw("FP32", -INF, 1), "x must be finite"),
        ({"finite": True}, "FP16", raw("FP16", INF, 1), "x must be finite"),
        ({"finite": True}, "FP32", [INF, 1.0], "x must be finite"),
        ({"finite": True, "min": 0}, "FP32", raw("FP32", INF, 1), "x must be finite, it has"),
        *[
            ({"finite": True, "min": -1, "max": 1}, "FP32", data, "x must be finite and from -1 to")
            for value in (NAN, INF, 1e38, -1.01)
            for data in ([0.5, value], raw("FP32", value, 0.5))
        ],
        ({"min_length": 3}, "INT64", [1, 2], "from 3 to inf elements"),
        ({"max_length": 1}, "INT64", [1, 2], "from 0 to 1 elements"),
        ({"max_bytes": 3}, "BYTES", ["abc", "äöü"], "x row 1: it has 6 bytes"),
        ({"max_bytes": 3}, "BYTES", strings(b"abc", b"abcd"), "x row 1: it has 4 bytes"),
        ({"max_total_bytes": 5}, "BYTES", ["abc", "abc"], "6 bytes in all rows"),
        ({"max_total_bytes": 5}, "BYTES", strings(b"abc", b"abc"), "6 bytes in all rows"),
    ],
)
def test_bounds_of_a_model_are_kept_in_values_and_in_raw_data(
    bounds: dict[str, Any], datatype: str, data: Any, words: str
) -> None:
    model = description(takes(datatype, -1, **bounds))
    assert words in refusal(tensor(datatype, (1, 2), data), model=model)


def test_large_finite_numbers_are_finite() -> None:
    model = description(takes("FP32", -1, finite=True))
    for count in (2, 100_000):
        data = np.full(count, 3e38, np.float32).tobytes()
        check_inference(request(tensor("FP32", (1, count), data)), model)


def test_bounds_between_inputs_are_kept() -> None:
    ids = takes("INT64", -1, name="ids")
    mask = takes("INT64", -1, name="mask", same_shape_as="ids")
    kept = takes("INT32", 1, name="kept", at_most_length_of="ids")
    model = description(ids, mask, kept)
    good = tensor("INT64", (1, 2), [1, 2], "ids")
    same, longer = (tensor("INT64", (1, length), [1] * length, "mask") for length in (2, 3))
    two, three, less = (tensor("INT32", (1, 1), [count], "kept") for count in (2, 3, -1))
    check_inference(request(good, same, two), model)
    assert "mask must have the shape of ids" in refusal(good, longer, two, model=model)
    for kept_wrong in (three, less):
        assert "kept must be from 0 to the number of ids" in refusal(
            good, same, kept_wrong, model=model
        )


@pytest.mark.parametrize(
    "parameters",
    [
        {"sequence_id": -1},
        {"sequence_id": 1.5},
        {"sequence_id": True},
        {"sequence_id": "x" * 129},
        {"sequence_id": "ä" * 65},
        {"sequence_start": 1},
        {"priority": "high"},
        {"priority": 1 << 64},
        {"timeout": -1},
        {"binary_data_output": "yes"},
        {"triton_final_response": True},
        {"mine": [1]},
        {"": 1},
        {"a\0b": 1},
        {"mine": None},
        {"mine": 1 << 70},
        {"x" * 2000: 1},
        {str(number): number for number in range(65)},
    ],
)
def test_parameters_of_another_type_or_size_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(Refusal):
        check_parameters(parameters)


def test_parameters_of_their_types_pass() -> None:
    check_parameters({"sequence_id": "a", "sequence_start": True, "priority": 1, "mine": 1.5})
    check_parameters({"sequence_id": (1 << 64) - 1, "timeout": 5, "binary_data_output": False})


@pytest.mark.parametrize(
    "memory",
    [
        SharedMemory("", 4, 0),
        SharedMemory("region", -4, 0),
        SharedMemory("region", 4, -1),
        SharedMemory("region", 4, 1 << 63),
        SharedMemory("region", 8, 0),
    ],
)
def test_shared_memory_has_a_name_and_the_size_of_the_tensor(memory: SharedMemory) -> None:
    refusal(tensor("INT32", (1, 1), memory), model=description(takes("INT32", 1)))


_NUMBERS: dict[str, Any] = {
    name: dtype for name, dtype in NUMPY_TYPES.items() if name not in ("BOOL", "FP16")
}


@given(st.data())
def test_values_become_the_raw_elements_that_numpy_makes_of_them_or_are_refused(
    data: st.DataObject,
) -> None:
    datatype = data.draw(st.sampled_from(sorted(_NUMBERS)))
    dtype = _NUMBERS[datatype]
    whole = st.integers(-(1 << 65), 1 << 65)
    values = data.draw(st.lists(st.floats() | whole if dtype.kind == "f" else whole, max_size=5))
    asked = request(tensor(datatype, (1, len(values)), values))
    model = description(takes(datatype, -1))
    if dtype.kind == "f":
        expected = np.array([float(each) for each in values])
        with np.errstate(over="ignore"):
            expected, doubles = expected.astype(dtype), expected
        fits = bool((np.isfinite(expected) == np.isfinite(doubles)).all())
    else:
        expected = np.array(values, object)
        fits = all(np.iinfo(dtype).min <= each <= np.iinfo(dtype).max for each in values)
    said = refusal_or_none(asked, model)
    assert said is None if fits else "beyond" in str(said)
    if fits:
        (made,) = check_inference(asked, model).inputs
        np.testing.assert_array_equal(np.frombuffer(made.raw(), dtype), expected.astype(dtype))


def test_a_request_of_raw_data_is_passed_on_as_it_is() -> None:
    asked = request(tensor("INT32", (1, 1), raw("INT32", 1)))
    assert check_inference(asked, description(takes("INT32", 1))) is asked


def test_digest_is_that_of_the_tensors_however_they_came() -> None:
    values = request(tensor("INT64", (1, 2), [1, 2]), id="a", mine=1)
    data = request(tensor("INT64", (1, 2), memoryview(raw("INT64", 1, 2))), id="b")
    assert values.digest() == data.digest()
    texts = request(tensor("BYTES", (1, 2), ["a", "ä"]))
    assert texts.digest() == request(tensor("BYTES", (1, 2), strings(b"a", "ä".encode()))).digest()
    assert texts.digest() != request(tensor("BYTES", (2, 1), ["a", "ä"])).digest()
    assert values.digest() != request(tensor("INT64", (1, 2), [1, 3])).digest()
