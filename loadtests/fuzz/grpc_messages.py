"""Messages of gRPC requests: real ones of which some fields are changed."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from loadtests.fuzz.case import Case, End, Headers, Wire
from loadtests.fuzz.http2 import call_headers, message
from loadtests.fuzz.http_tensors import hostile_values
from loadtests.fuzz.recorded import Recorded
from loadtests.fuzz.values import INTEGERS, STRINGS, damaged, maybe, pick

_TYPES = (
    "BOOL",
    "UINT8",
    "INT8",
    "INT64",
    "UINT64",
    "FP16",
    "FP32",
    "FP64",
    "BF16",
    "BYTES",
    "",
    "x",
)
_CONTENTS = (
    *("bool_contents", "int_contents", "int64_contents", "uint_contents", "uint64_contents"),
    *("fp32_contents", "fp64_contents", "bytes_contents"),
)
_SHORT = tuple(text for text in STRINGS if len(text) < 1_000)
_INT64 = [value for value in INTEGERS if -(2**63) <= value < 2**63]


def call(
    kind: str,
    *messages: bytes,
    headers: Headers | None = None,
    end: End = End.WAIT,
    framed: bool = False,
) -> Case:
    """A call with these messages."""
    sends = messages if framed else tuple(message(each) for each in messages)
    answers = 1 if end is End.WAIT else 0
    return Case(kind, Wire.GRPC, sends, answers, end, headers or call_headers())


def fields(random: Random, recorded: Recorded) -> Case:
    """A real `ModelInferRequest` with some of its fields changed."""
    request = recorded.as_message()
    for _ in range(random.choice((1, 1, 2, 3))):
        pick(random, CHANGES)(random, request, recorded)
    return call("grpc fields", request.SerializeToString())


def _change_shape(random: Random, request: Any, recorded: Recorded) -> None:  # noqa: ARG001
    shape = pick(random, request.inputs).shape if request.inputs else []
    if maybe(random, 0.5) and shape:
        shape[random.randrange(len(shape))] = pick(random, _INT64)
    elif request.inputs:
        del shape[:]
        shape.extend(pick(random, _INT64) for _ in range(random.choice((0, 1, 2, 3, 4, 5, 2_000))))


def _change_raw(random: Random, request: Any, recorded: Recorded) -> None:  # noqa: ARG001
    raw = request.raw_input_contents
    if not raw:
        return
    at = random.randrange(len(raw))
    choice = random.randrange(6)
    if choice == 0:
        raw[at] = raw[at][: random.randrange(len(raw[at]) + 1)]
    elif choice == 1:
        raw[at] += random.randbytes(random.choice((1, 4, 4_000)))
    elif choice == 2:
        raw[at] = damaged(random, raw[at])
    elif choice == 3:
        datatype = (
            request.inputs[min(at, len(request.inputs) - 1)].datatype if request.inputs else ""
        )
        raw[at] = hostile_values(random, raw[at], datatype)
    elif choice == 4:
        raw.append(raw[at])
    else:
        del raw[at]


def _change_contents(random: Random, request: Any, recorded: Recorded) -> None:  # noqa: ARG001
    if not request.inputs:
        return
    contents = pick(random, request.inputs).contents
    for _ in range(random.choice((1, 1, 2))):
        name = pick(random, _CONTENTS)
        count = random.choice((0, 1, 2, 10, 784, 3_000))
        getattr(contents, name).extend([_content(random, name)] * count)
    if maybe(random, 0.7):
        del request.raw_input_contents[:]


def _content(random: Random, name: str) -> Any:
    if name == "bytes_contents":
        return pick(random, (b"", b"good", b"\xff", b"\0", b"x" * 4_000, b"\xe2\x80\x8b"))
    if name.startswith("fp"):
        return pick(random, (0.0, float("nan"), float("inf"), -1e30))
    if name == "bool_contents":
        return True
    low, high = {
        "int_contents": (-(2**31), 2**31 - 1),
        "int64_contents": (-(2**63), 2**63 - 1),
        "uint_contents": (0, 2**32 - 1),
        "uint64_contents": (0, 2**64 - 1),
    }[name]
    return min(max(pick(random, INTEGERS), low), high)


def _change_names(random: Random, request: Any, recorded: Recorded) -> None:
    choice = random.randrange(6)
    if choice == 0:
        request.model_name = pick(random, STRINGS)
    elif choice == 1:
        request.model_version = pick(random, ("1", "2", "-1", "0", "x", "9" * 30, "01", "1 "))
    elif choice == 2:
        request.id = pick(random, STRINGS)
    elif choice == 3 and request.inputs:
        pick(random, request.inputs).name = pick(random, [*STRINGS, recorded.outputs[0][0]])
    elif choice == 4 and request.inputs:
        pick(random, request.inputs).datatype = pick(random, _TYPES)
    elif request.inputs:
        entry = pick(random, request.inputs)
        for _ in range(random.choice((1, 2, 50))):
            request.inputs.add().CopyFrom(entry)
            if maybe(random, 0.7) and request.raw_input_contents:
                request.raw_input_contents.append(request.raw_input_contents[0])


def _change_parameters(random: Random, request: Any, recorded: Recorded) -> None:
    if maybe(random, 0.5):
        for _ in range(random.choice((1, 1, 2, 40))):
            names = [name for name, _ in recorded.outputs]
            output = request.outputs.add(name=pick(random, [*names, *names, *_SHORT]))
            _set(random, output.parameters)
    elif maybe(random, 0.5) and request.inputs:
        _set(random, pick(random, request.inputs).parameters)
    else:
        for _ in range(random.choice((1, 2, 3, 200))):
            _set(random, request.parameters)


def _set(random: Random, parameters: Any) -> None:
    name = pick(
        random,
        (
            *("classification", "classification", "shared_memory_region", "shared_memory_offset"),
            *("shared_memory_byte_size", "binary_data_size", "sequence_id", "sequence_start"),
            *(
                "sequence_end",
                "priority",
                "timeout",
                "headers",
                "triton_enable_empty_final_response",
            ),
            *("SAMPLES", "SEED", "", "triton_x", "k" * 999, f"k{random.randrange(999)}"),
        ),
    )
    choice = random.randrange(6)
    if name == "SAMPLES":
        parameters[name].int64_param = pick(random, (1, 8, -1, 2**40))
    elif choice == 0:
        parameters[name].bool_param = maybe(random, 0.5)
    elif choice == 1:
        parameters[name].string_param = pick(random, _SHORT)
    elif choice == 2:
        parameters[name].double_param = pick(random, (0.0, float("nan"), 1e300))
    elif choice == 3:
        parameters[name].uint64_param = pick(random, (0, 1, 2**63, 2**64 - 1))
    else:
        parameters[name].int64_param = pick(random, (1, 2, 3, *_INT64))


CHANGES: tuple[Callable[[Random, Any, Recorded], None], ...] = (
    _change_shape,
    _change_raw,
    _change_contents,
    _change_names,
    _change_parameters,
)
