"""Bodies of HTTP requests: JSON, shapes, data, parameters and binary tensors."""

from __future__ import annotations

import json
import struct
from random import Random
from typing import Any

from loadtests.fuzz.case import Case, Wire
from loadtests.fuzz.http_head import Fields, request
from loadtests.fuzz.recorded import LENGTH_HEADER, Recorded, joined
from loadtests.fuzz.values import (
    INTEGERS,
    NUMBERS,
    STRINGS,
    WRONG_JSON,
    any_json,
    damaged,
    maybe,
    mutated_json,
    pick,
    raw_json,
)

_TYPES = (
    *("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
    *(
        "FP16",
        "FP32",
        "FP64",
        "BF16",
        "BYTES",
        "",
        "STRING",
        "fp32",
        "INVALID",
        "TYPE_FP32",
        "BYTES\0",
    ),
)
_SHORT = tuple(text for text in STRINGS if len(text) < 1_000)
_DEPTHS = (15, 16, 17, 99, 100, 101, 1_000, 30_000, 60_000)


def post(kind: str, recorded: Recorded, body: bytes, fields: Fields | None = None) -> Case:
    """A whole request with this body."""
    whole = request(body, path=recorded.path, fields=fields)
    return Case(kind, Wire.HTTP, (whole,))


def structure(random: Random, recorded: Recorded) -> Case:  # noqa: PLR0911 - a way each
    """JSON that is wrong, deep, long, ambiguous, or of other types than it should be."""
    body = recorded.as_json()
    choice = random.randrange(8)
    if choice == 0:
        return post("json structure", recorded, pick(random, WRONG_JSON))
    if choice == 1:
        depth = pick(random, _DEPTHS)
        opening, closing = pick(random, ((b"[", b"]"), (b'{"a":', b"}")))
        deep = opening * depth + b"1" + (closing * depth if maybe(random, 0.7) else b"")
        where = pick(random, (b'{"inputs":%b}', b"%b", b'{"id":%b}', b'{"parameters":{"a":%b}}'))
        return post("json structure", recorded, where % deep)
    if choice == 2:
        body["inputs"][0]["data"] = "@"
        depth = pick(random, _DEPTHS)
        deep = b"[" * depth + b"1" + b"]" * depth
        return post("json structure", recorded, raw_json(body).replace(b'"@"', deep))
    if choice == 3:
        text = raw_json(body)
        doubled = text.replace(b'"inputs"', b'"inputs":[],"inputs"', 1)
        named = text.replace(b'"shape"', b'"shape":[1],"shape"', 1)
        return post("json structure", recorded, pick(random, (doubled, named)))
    if choice == 4:
        return post("json structure", recorded, damaged(random, raw_json(body)))
    if choice == 5:
        entries = {f"k{number}": 1 for number in range(random.choice((100, 2_000, 20_000)))}
        body[pick(random, ("parameters", "unknown", "inputs"))] = entries
        return post("json structure", recorded, raw_json(body))
    if choice == 6:
        long = b'{"id":"' + b"x" * random.choice((2**16, 2**20, 2**20 + 1, 2**21)) + b'"}'
        return post("json structure", recorded, long)
    return post("json structure", recorded, raw_json(mutated_json(random, body)))


def shapes(random: Random, recorded: Recorded) -> Case:
    """Shapes whose products overflow, that are negative or no shapes, and other types."""
    body = recorded.as_json()
    entry = pick(random, body["inputs"])
    choice = random.randrange(6)
    if choice <= 1:
        entry["shape"] = [pick(random, INTEGERS) for _ in range(random.choice((1, 2, 3, 4, 5, 40)))]
    elif choice == 2:
        at = random.randrange(len(entry["shape"]))
        entry["shape"][at] = pick(random, INTEGERS)
    elif choice == 3:
        entry["shape"] = pick(
            random,
            (
                [],
                [1] * 5_000,
                [2**32, 2**32],
                [2**31, 2**31, 4],
                [-1, -1],
                [2**62, 4],
                [0, 2**63 - 1],
            ),
        )
    elif choice == 4:
        entry["datatype"] = pick(random, _TYPES)
    else:
        entry["shape"] = pick(
            random, ("1,1", 1, None, {}, [1.0, 1.5], ["1"], [True], [[1]], [None])
        )
    if maybe(random, 0.2):
        entry["datatype"] = pick(random, _TYPES)
    if maybe(random, 0.2):
        entry["data"] = [1]
    return post("json shapes", recorded, raw_json(body))


def data(random: Random, recorded: Recorded) -> Case:
    """Data that is longer or shorter than its shape, ragged, or of other types."""
    body = recorded.as_json()
    entry = pick(random, body["inputs"])
    values = entry["data"]
    choice = random.randrange(9)
    if choice == 0:
        entry["data"] = values[: random.randrange(len(values))] if values else [1]
    elif choice == 1:
        entry["data"] = values + values
    elif choice == 2:
        entry["data"] = [values, values[:1], [[values]]]
    elif choice == 3:
        entry["data"] = any_json(random)
    elif choice == 4:
        at = random.randrange(len(values) or 1)
        wrong: Any = pick(random, (*STRINGS, *INTEGERS, None, True, [], {}, 0.5))
        entry["data"] = [*values[:at], wrong, *values[at + 1 :]]
    elif choice == 5:
        entry["data"] = "@"
        numbers = ",".join([pick(random, NUMBERS), *["0"] * (max(len(values), 1) - 1)])
        return post("json data", recorded, raw_json(body).replace(b'"@"', f"[{numbers}]".encode()))
    elif choice == 6:
        entry["data"] = [pick(random, INTEGERS) for _ in values]
    elif choice == 7:
        body["inputs"] = body["inputs"] * random.choice((0, 2, 100))
    else:
        entry["data"] = ["x"] * random.choice((1, 33, 5_000))
        entry["shape"] = [len(entry["data"]), 1]
    return post("json data", recorded, raw_json(body))


def parameters(random: Random, recorded: Recorded) -> Case:
    """Outputs, classification, sizes, shared memory, sequences, priorities and ids."""
    body = recorded.as_json()
    names = [name for name, _ in recorded.outputs]
    outputs: list[Any] = []
    for _ in range(random.choice((0, 1, 1, 1, 2, 3, 30, 3_000))):
        entry: dict[str, Any] = {"name": pick(random, [*names, *names, *_SHORT])}
        if maybe(random, 0.7):
            entry["parameters"] = dict([_parameter(random) for _ in range(random.randint(1, 3))])
        outputs.append(entry)
    if maybe(random, 0.8):
        body["outputs"] = outputs
    if maybe(random, 0.5):
        body.setdefault("parameters", {}).update([_parameter(random) for _ in range(3)])
    if maybe(random, 0.4):
        pick(random, body["inputs"])["parameters"] = dict([_parameter(random)])
    if maybe(random, 0.2):
        body["id"] = pick(random, (*STRINGS, 1, None, [], {}))
    if maybe(random, 0.2):
        pick(random, body["inputs"])["name"] = pick(random, (*STRINGS, 1, None, []))
    return post("json parameters", recorded, raw_json(body))


def _parameter(random: Random) -> tuple[str, Any]:
    name = pick(
        random,
        (
            *("classification", "classification", "binary_data", "binary_data_size", "priority"),
            *("shared_memory_region", "shared_memory_offset", "shared_memory_byte_size", "timeout"),
            *("sequence_id", "sequence_start", "sequence_end", "binary_data_output", "headers"),
            *("triton_enable_empty_final_response", "triton_", "SAMPLES", "SEED", "", "a" * 999),
        ),
    )
    small = maybe(random, 0.4)
    value: Any = (
        pick(random, (1, 2, 3, 10, True)) if small else pick(random, (*INTEGERS, *_SHORT, None))
    )
    if name == "SAMPLES":  # what is allowed there takes long
        value = pick(random, (1, 16, -1, "x", 2**40))
    return name, value if maybe(random, 0.95) else any_json(random, 1)


def binary(random: Random, recorded: Recorded) -> Case:
    """Binary tensors: their sizes, their values, strings' lengths, the JSON part's length."""
    body, tensors = recorded.as_binary()
    entry = pick(random, body["inputs"])
    told = entry["parameters"]
    delta = 0
    choice = random.randrange(9)
    if choice == 0:
        told["binary_data_size"] = pick(random, INTEGERS)
    elif choice == 1:
        tensors = tensors[: random.randrange(len(tensors))]
    elif choice == 2:
        tensors += random.randbytes(random.choice((1, 4, 9_000)))
    elif choice == 3:
        tensors = damaged(random, tensors)
    elif choice == 4:
        tensors = hostile_values(random, tensors, entry["datatype"])
    elif choice == 5:
        delta = pick(random, (-1, 1, 5, -len(tensors), len(tensors)))
    elif choice == 6:
        entry["shape"] = [pick(random, INTEGERS) for _ in entry["shape"]]
    elif choice == 7:
        told["binary_data_size"] = pick(random, (None, "4", 4.0, True, [], {}, "x"))
    else:
        rows = pick(random, (0, 0, 2, 65))
        entry["shape"][0] = rows
        tensors = tensors * rows
        told["binary_data_size"] *= rows
    if maybe(random, 0.15):
        entry["data"] = [1]
    if maybe(random, 0.15):
        body["outputs"] = [{"name": pick(random, recorded.outputs)[0], "parameters": _out(random)}]
    whole, length = joined(body, tensors)
    return post("binary tensors", recorded, whole, [(LENGTH_HEADER, b"%d" % (length + delta))])


def _out(random: Random) -> dict[str, Any]:
    return pick(random, ({"binary_data": True}, {"classification": 2}, {"binary_data": 1}, {}))


def hostile_values(random: Random, tensors: bytes, datatype: str) -> bytes:
    """Tensors of the same length, or nearly, with values that no model wants."""
    if datatype == "BYTES":
        length = struct.pack("<I", pick(random, (0, 1, 2**31 - 1, 2**31, 2**32 - 1, len(tensors))))
        text = pick(random, (b"\xff\xfe", b"\0" * 9, b"caf\xe9", b"\xe2\x80\x8b" * 30, b" \n"))
        exact = struct.pack("<I", len(text)) + text
        return pick(random, (length + tensors[4:], exact, exact * 2, length, tensors[:3], b""))
    if datatype.startswith("FP"):
        values = struct.pack("<ff", *pick(random, _FLOATS))
    else:
        values = struct.pack("<q", pick(random, (-1, 30_522, 2**31, -(2**63), 2**63 - 1)))
    at = random.randrange(max(len(tensors) - 8, 0) // 8 + 1) * 8
    return tensors[:at] + values[: len(tensors) - at] + tensors[at + 8 :]


_FLOATS = (
    (float("nan"), 0.0),
    (float("inf"), 1.0),
    (0.0, float("-inf")),
    (3.4e38, -3.4e38),
    (1e-45, 1e-45),
)


def generate(random: Random, recorded: Recorded) -> Case:
    """The endpoints of generation, which map plain JSON to tensors."""
    body: Any = {tensor.name: tensor.data for tensor in recorded.tensors}
    if maybe(random, 0.3):
        body = {name: value[0] for name, value in body.items() if value}
    body |= recorded.parameters(7)
    if maybe(random, 0.8):
        body = mutated_json(random, body)
    ending = pick(random, ("generate", "generate", "generate_stream"))
    path = recorded.path.replace("/infer", f"/{ending}")
    text = json.dumps(body).encode() if maybe(random, 0.9) else pick(random, WRONG_JSON)
    return Case("generate", Wire.HTTP, (request(text, path=path),))


_ADMINISTRATION = (
    "/v2/systemsharedmemory/region/x/register",
    "/v2/systemsharedmemory/region/x/unregister",
    "/v2/systemsharedmemory/unregister",
    "/v2/systemsharedmemory/status",
    "/v2/cudasharedmemory/region/x/register",
    "/v2/cudasharedmemory/status",
    "/v2/repository/index",
    "/v2/repository/models/mnist_cnn/load",
    "/v2/repository/models/mnist_cnn/unload",
    "/v2/repository/models/..%2f..%2fetc/load",
    "/v2/trace/setting",
    "/v2/models/mnist_cnn/trace/setting",
    "/v2/logging",
    "/v2/models/stats",
    "/v2/models/mnist_cnn/stats",
)


def administration(random: Random, recorded: Recorded) -> Case:  # noqa: ARG001
    """Shared memory, model control, trace and logging, which are closed."""
    body = pick(
        random,
        (
            {"key": "/triton_x", "offset": 0, "byte_size": 4096},
            {"key": "/../etc/passwd", "offset": 2**63, "byte_size": 2**63},
            {"raw_handle": {"b64": "AAAA"}, "device_id": 0, "byte_size": 1},
            {"parameters": {"config": "{}", "file:1/model.onnx": "AAAA"}},
            {"log_file": "/tmp/x", "log_verbose_level": 9},  # noqa: S108 - nothing is written
            {"trace_level": ["TIMESTAMPS"], "trace_file": "/tmp/x"},  # noqa: S108
            {},
        ),
    )
    body = mutated_json(random, body) if maybe(random, 0.3) and body else body
    method = pick(random, (b"POST", b"POST", b"GET"))
    text = raw_json(body)
    path = pick(random, _ADMINISTRATION)
    return Case("administration", Wire.HTTP, (request(text, path=path, method=method),))
